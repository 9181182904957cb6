"""Perlin noise: smooth random fields, for the shapes of defects and the look of rendered surfaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fractal_noise", "perlin_noise"]


def perlin_noise(size_hw: tuple[int, int], cells_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gradient noise after Perlin (1985) with the quintic fade of 2002.

    Args:
        size_hw: Height and width, in pixels.
        cells_hw: Cells of the gradient lattice along each axis; more cells are finer noise.
        rng: Source of the gradients.

    Returns:
        float32 (h, w), about in [-0.7, 0.7], mean about 0.
    """
    angles = rng.uniform(0.0, 2.0 * np.pi, (cells_hw[0] + 1, cells_hw[1] + 1)).astype(np.float32)
    row, y = _cells(size_hw[0], cells_hw[0])
    column, x = _cells(size_hw[1], cells_hw[1])
    fade_y, fade_x = _fade(y)[:, None], _fade(x)[None, :]
    down, right = np.sin(angles), np.cos(angles)

    def corner(i: int, j: int) -> NDArray[np.float32]:
        # Rows, then columns, and sums in place: a tenth of the time of indexing every pixel at once.
        slope = down[row + i].take(column + j, axis=1) * (y - i)[:, None]
        slope += right[row + i].take(column + j, axis=1) * (x - j)[None, :]
        return slope

    def between(first: NDArray[np.float32], last: NDArray[np.float32], fade: NDArray[np.float32]) -> None:
        last -= first
        last *= fade
        first += last

    upper, lower = corner(0, 0), corner(1, 0)
    between(upper, corner(0, 1), fade_x)
    between(lower, corner(1, 1), fade_x)
    between(upper, lower, fade_y)
    return upper


def fractal_noise(
    size_hw: tuple[int, int], cells_hw: tuple[int, int], rng: np.random.Generator, *, octaves: int = 3
) -> NDArray[np.float32]:
    """Sum of Perlin noise whose lattice doubles and whose amplitude halves with each octave.

    Returns:
        float32 (h, w), about in [-1, 1].
    """
    total = np.zeros(size_hw, np.float32)
    for octave in range(octaves):
        cells = (cells_hw[0] << octave, cells_hw[1] << octave)
        total += perlin_noise(size_hw, cells, rng) * np.float32(0.5**octave)
    return total


def _cells(pixels: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    position = np.arange(pixels, dtype=np.float32) * np.float32(cells / pixels)
    index = np.minimum(position.astype(np.intp), cells - 1)
    return index, position - index.astype(np.float32)


def _fade(t: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(t * t * t * (t * (t * 6.0 - 15.0) + 10.0), np.float32)
