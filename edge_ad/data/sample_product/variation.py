"""A harmless variation of the sample part: a dot of blue ink that the supplier begins to set below the boss."""

from __future__ import annotations

import numpy as np

from edge_ad.data.sample_product.drawing import Outline
from edge_ad.data.sample_product.surface import Surface

__all__ = ["ink_dot"]

_CENTRE = (0.0, 0.53)
_PLAY = 0.03  # a hand sets it
_ABSORBED_BGR = (0.25, 0.62, 0.80)


def ink_dot(outline: Outline, surface: Surface, rng: np.random.Generator) -> None:
    """Set the dot on a surface, about where the drawing wants it."""
    x, y = (centre + rng.uniform(-_PLAY, _PLAY) for centre in _CENTRE)
    radius, strength = rng.uniform(0.038, 0.05), rng.uniform(0.75, 1.0)
    distance = np.hypot(outline.x - np.float32(x), outline.y - np.float32(y)) - np.float32(radius)
    ink = strength * np.clip(0.5 - distance / 0.012, 0.0, 1.0)
    surface.reflectance *= (1.0 - ink[..., None] * np.array(_ABSORBED_BGR)).astype(np.float32)
