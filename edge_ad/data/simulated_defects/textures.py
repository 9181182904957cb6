"""Textures of simulated defects: from photos, or rendered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import read_image, resize
from edge_ad.photo_files import find_photos

__all__ = ["FIELDS", "fractal_noise", "perlin_noise", "photographed_texture", "rendered_texture", "texture_photos"]

Size = tuple[int, int]
Field = NDArray[np.float32]


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


def texture_photos(folder: Path) -> tuple[Path, ...]:
    """Image files of a folder and of the folders in it, sorted by path.

    Raises:
        DataError: No such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder of textures {folder}.", "Leave textures out to have them rendered.")
    found = find_photos(folder, recursive=True).photos
    if not found:
        raise DataError(f"There is no image in {folder} or the folders in it.", "Leave textures out to render them.")
    return found


def photographed_texture(
    photos: Sequence[Path], size_hw: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A crop of half to all of one of the photographs, so that its grain comes in several sizes.

    Args:
        photos: Image files, at least one.
        size_hw: Height and width of the result, in pixels.
        rng: Draws photograph and crop.

    Returns:
        uint8 (h, w, 3), BGR.

    Raises:
        DataError: The photograph cannot be read.
    """
    photo = read_image(photos[int(rng.integers(len(photos)))])
    share = rng.uniform(0.5, 1.0)
    height, width = (max(1, int(side * share)) for side in photo.shape[:2])
    top, left = int(rng.integers(photo.shape[0] - height + 1)), int(rng.integers(photo.shape[1] - width + 1))
    return resize(np.ascontiguousarray(photo[top : top + height, left : left + width]), size_hw)


def _clouds(size_hw: Size, rng: np.random.Generator) -> Field:
    """Perlin noise of three octaves."""
    cells = int(rng.integers(3, 25))
    return fractal_noise(size_hw, (cells, cells), rng)


def _fibres(size_hw: Size, rng: np.random.Generator) -> Field:
    """White noise drawn out along one or two directions."""
    field = _drawn_out(size_hw, rng)
    return field if rng.random() < 0.5 else np.maximum(field, _drawn_out(size_hw, rng))


def _blobs(size_hw: Size, rng: np.random.Generator) -> Field:
    """Round spots of one size, with soft edges."""
    sigma = float(rng.uniform(2.0, 7.0))
    noise = rng.standard_normal(size_hw, np.float32)
    band = cv2.GaussianBlur(noise, (0, 0), sigma) - cv2.GaussianBlur(noise, (0, 0), 1.6 * sigma)
    return np.asarray(np.tanh(np.float32(rng.uniform(1.0, 4.0)) * band / band.std()), np.float32)


def _stripes(size_hw: Size, rng: np.random.Generator) -> Field:
    """Waves across any direction, more or less bent, soft or hard."""
    across = _along(size_hw, float(rng.uniform(0.0, np.pi)))
    bent = across + np.float32(rng.uniform(0.0, 12.0)) * perlin_noise(size_hw, (4, 4), rng)
    wave = np.sin(bent * np.float32(2.0 * np.pi / rng.uniform(5.0, 40.0)))
    return np.asarray(np.tanh(np.float32(rng.uniform(0.5, 6.0)) * wave), np.float32)


def _rendered_cells(size_hw: Size, rng: np.random.Generator) -> Field:
    """Distance to the nearest of scattered points, one in each square of a lattice: scales, bubbles, grains."""
    # Not OpenCV's distance transform, whose last bits differ from call to call.
    side = float(rng.uniform(10.0, 40.0))
    rows, columns = (np.arange(pixels, dtype=np.float32) / np.float32(side) for pixels in size_hw)
    row, column = rows.astype(np.intp) + 1, columns.astype(np.intp) + 1
    offsets = rng.random((2, row[-1] + 2, column[-1] + 2), np.float32)
    nearest = np.full(size_hw, np.inf, np.float32)
    for i, j in itertools.product((-1, 0, 1), repeat=2):
        down = offsets[0][row + i].take(column + j, axis=1) + (row + i - 1 - rows)[:, None].astype(np.float32)
        right = offsets[1][row + i].take(column + j, axis=1) + (column + j - 1 - columns)[None, :].astype(np.float32)
        np.minimum(nearest, down * down + right * right, out=nearest)
    return np.sqrt(nearest)


def _grain(size_hw: Size, rng: np.random.Generator) -> Field:
    """Noise of a fine grain."""
    noise = rng.standard_normal(size_hw, np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(0.4, 1.8))), np.float32)


def _cracks(size_hw: Size, rng: np.random.Generator) -> Field:
    """Thin lines where a smooth field crosses zero."""
    cells = int(rng.integers(3, 16))
    return np.asarray(np.minimum(np.abs(fractal_noise(size_hw, (cells, cells), rng)), np.float32(0.15)), np.float32)


def _checks(size_hw: Size, rng: np.random.Generator) -> Field:
    """Squares of two levels, turned, with a little noise."""
    angle, side = float(rng.uniform(0.0, np.pi)), float(rng.uniform(4.0, 32.0))
    parity = np.floor(_along(size_hw, angle) / side) + np.floor(_along(size_hw, angle + np.pi / 2) / side)
    return np.asarray(np.mod(parity, 2.0) + 0.1 * rng.standard_normal(size_hw, np.float32), np.float32)


FIELDS = MappingProxyType[str, Callable[[Size, np.random.Generator], Field]](
    {
        "clouds": _clouds,
        "fibres": _fibres,
        "blobs": _blobs,
        "stripes": _stripes,
        "cells": _rendered_cells,
        "grain": _grain,
        "cracks": _cracks,
        "checks": _checks,
    }
)


def rendered_texture(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a field, and the three colours between which it fades.

    Args:
        size_hw: Height and width, in pixels.
        rng: The only source of randomness.

    Returns:
        uint8 (h, w, 3), BGR.
    """
    names = tuple(FIELDS)
    field = FIELDS[names[int(rng.integers(len(names)))]](size_hw, rng)
    low, high = np.percentile(field, [1.0, 99.0])
    level = np.clip((field - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0.0, 1.0)
    colours = rng.uniform(0.0, 255.0, (3, 3)).astype(np.float32)
    # From grey to plain colour, as among photographs: colour alone must not give every defect away.
    grey = colours.mean(axis=1, keepdims=True)
    colours = grey + np.float32(rng.uniform(0.0, 1.0)) * (colours - grey)
    steps = np.arange(256) / 255.0
    # A table of 256 colours: looked up faster than three channels are interpolated.
    table = np.stack([np.interp(steps, [0.0, 0.5, 1.0], colours[:, channel]) for channel in range(3)], axis=-1)
    return np.asarray(np.rint(table).astype(np.uint8)[np.rint(level * 255.0).astype(np.uint8)], np.uint8)


def _drawn_out(size_hw: Size, rng: np.random.Generator) -> Field:
    length, angle = int(rng.integers(9, 32)) | 1, float(rng.uniform(0.0, np.pi))
    kernel, half = np.zeros((length, length), np.float32), length // 2
    reach = (round(half * np.cos(angle)), round(half * np.sin(angle)))
    cv2.line(kernel, (half - reach[0], half - reach[1]), (half + reach[0], half + reach[1]), 1.0)
    return np.asarray(cv2.filter2D(rng.standard_normal(size_hw, np.float32), -1, kernel / kernel.sum()), np.float32)


def _along(size_hw: Size, angle: float) -> Field:
    rows, columns = (np.arange(side, dtype=np.float32) for side in size_hw)
    return np.asarray(np.float32(np.sin(angle)) * rows[:, None] + np.float32(np.cos(angle)) * columns, np.float32)
