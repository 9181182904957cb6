"""Real frames to measure with: a product's photos, or the reference photos that a bundle carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle
from edge_ad.data.products import list_photos
from edge_ad.images import read_image

__all__ = ["Frames", "read_frames"]

_LIMIT = 32  # enough variety to keep caches honest, few enough to stay decoded in memory


@dataclass(frozen=True)
class Frames:
    """Decoded frames.

    Attributes:
        source: Where they come from, in words.
        images: uint8 (H, W, 3) BGR each, at their own size.
    """

    source: str
    images: Sequence[NDArray[np.uint8]]

    @property
    def sizes_hw(self) -> list[tuple[int, int]]:
        """The sizes that occur, in pixels."""
        return sorted({(image.shape[0], image.shape[1]) for image in self.images})

    def endless(self) -> Iterator[NDArray[np.uint8]]:
        """The frames, again and again."""
        return cycle(self.images)


def read_frames(bundle: Bundle, data: Path | None) -> Frames:
    """Decode frames to measure with.

    Args:
        bundle: Its reference photos are used when there is no ``data``; they are at the input size already.
        data: Product whose photos are used, at their own size; an even choice of at most 32.

    Raises:
        DataError: ``data`` cannot be used.
        BundleError: No ``data``, and the bundle has no reference photos.
    """
    if data is None:
        return Frames("reference photos of the bundle", list(bundle.reference().images))
    paths = list_photos(data)
    chosen = paths[:: max(1, -(-len(paths) // _LIMIT))]
    bits = bundle.manifest.photos.significant_bits
    return Frames(f"photos of {data.resolve().name}", [read_image(path, bits) for path in chosen])
