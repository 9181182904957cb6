"""Where SuperSimpleNet puts its noise: areas of thresholded Perlin noise on the feature map."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from edge_ad.data.simulated_defects.textures import perlin_noise

__all__ = ["perlin_areas"]

_MOST_DOUBLINGS = 5  # 2⁰ to 2⁵ cells along each axis
_SPARED = 0.5  # share of the maps that stay as they are
_UNIT = math.sqrt(2)  # the authors' noise reaches 1, ours √½


def perlin_areas(count: int, grid_hw: tuple[int, int], threshold: float, generator: torch.Generator) -> Tensor:
    """Draw areas; half of the maps get none.

    A cell is at least two positions wide: on the nodes of its lattice Perlin noise is zero.

    Args:
        count: N.
        grid_hw: Height and width of the feature map, in positions.
        threshold: Noise above it is inside; of noise in about [-1, 1].
        generator: Of the draw.

    Returns:
        float32 (N, 1, h, w), 1 inside and 0 outside.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    most = [min(_MOST_DOUBLINGS, max(0, int(math.log2(side)) - 1)) for side in grid_hw]
    areas = np.zeros((count, 1, *grid_hw), np.float32)
    for area in areas:
        cells = [int(2 ** rng.integers(0, doublings + 1)) for doublings in most]
        noise = _UNIT * perlin_noise(grid_hw, (cells[0], cells[1]), rng)
        if rng.random() >= _SPARED:
            area[0] = noise > threshold
    return torch.from_numpy(areas)
