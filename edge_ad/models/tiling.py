"""Compute the features of a large picture tile by tile: in the memory of one tile, what the whole would give.

Each tile is cut out with an overlap on every side that has a neighbour, and of its features what lies in the overlap is
dropped: no feature is of a border that the picture does not have. What is put together is one map, so that statistics
by position, smoothing and score are those of the whole picture. In an exported graph the tiles are branches of one
graph, which engines run one after the other and which share their weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["OVERLAP", "Span", "Tiles", "by_tiles", "choose_tiles", "parse_tiles", "spans"]

Tiles = Literal["auto"] | tuple[int, int]
"""Rows and columns; ``auto``: as few as keep each below a million pixels."""

OVERLAP = 128
"""Pixels that a tile reaches beyond its own on each side: as far as EfficientNet-Lite0 looks up to stride 16."""

_MOST_PIXELS = 1 << 20  # of a tile, without its overlap
_MOST_TILES = 64  # each is a branch of the exported graph


class Span(NamedTuple):
    """A tile along one axis, in pixels: what it covers, and what of that is its own."""

    start: int
    end: int
    own_start: int
    own_end: int


def parse_tiles(value: object) -> Tiles:
    """Read ``"auto"``, ``"3x4"`` (rows by columns) or ``(3, 4)``.

    Raises:
        ValueError: It is neither, or there are more than 64.
    """
    if value == "auto":
        return "auto"
    parts = value.lower().replace("×", "x").split("x") if isinstance(value, str) else value
    numbers = [int(part) for part in parts if str(part).isdecimal()] if isinstance(parts, Sequence) else []
    if len(numbers) != 2 or not isinstance(parts, Sequence) or len(parts) != 2 or min(numbers) < 1:
        raise ValueError("tiles are auto, or rows by columns such as 3x4")
    if math.prod(numbers) > _MOST_TILES:
        raise ValueError(f"at most {_MOST_TILES} tiles")
    return numbers[0], numbers[1]


def choose_tiles(tiles: Tiles, size_hw: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles for an input."""
    if tiles != "auto":
        return tiles
    rows = columns = 1
    while (height := size_hw[0] / rows) * (width := size_hw[1] / columns) > _MOST_PIXELS:
        rows, columns = (rows + 1, columns) if height >= width else (rows, columns + 1)
    return rows, columns


def spans(length: int, count: int, step: int) -> tuple[Span, ...]:
    """Cut an axis into tiles whose borders are multiples of a step.

    Args:
        length: In pixels; a multiple of the step.
        count: Tiles asked for; fewer where the axis has fewer steps.
        step: The largest stride of the network, in pixels.
    """
    steps = length // step
    count = min(count, steps)
    edges = [steps * index // count * step for index in range(count + 1)]
    reach = -(-OVERLAP // step) * step
    return tuple(Span(max(0, start - reach), min(length, end + reach), start, end) for start, end in pairwise(edges))


def by_tiles(
    network: Callable[[Tensor], Tensor], images: Tensor, rows: Sequence[Span], columns: Sequence[Span], stride: int
) -> Tensor:
    """Features of pictures, tile by tile.

    Args:
        network: Float RGB (N, 3, h, w) → features (N, C, h / stride, w / stride).
        images: (N, 3, H, W).
        rows: Of the tiles.
        columns: Of the tiles.
        stride: Pixels of a feature.

    Returns:
        (N, C, H / stride, W / stride).
    """
    bands = [torch.cat([_own(network, images, row, column, stride) for column in columns], dim=3) for row in rows]
    return torch.cat(bands, dim=2)


def _own(network: Callable[[Tensor], Tensor], images: Tensor, row: Span, column: Span, stride: int) -> Tensor:
    """Features of a tile without those of its overlap."""
    features = network(images[:, :, row.start : row.end, column.start : column.end])
    down, across = (
        slice((span.own_start - span.start) // stride, (span.own_end - span.start) // stride) for span in (row, column)
    )
    return features[:, :, down, across]
