"""Rendered textures, for whoever has no photographs: fields of many structures in many colours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.perlin import fractal_noise, perlin_noise

__all__ = ["FIELDS", "rendered_texture"]

Size = tuple[int, int]
Field = NDArray[np.float32]


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


def _cells(size_hw: Size, rng: np.random.Generator) -> Field:
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
        "cells": _cells,
        "grain": _grain,
        "cracks": _cracks,
        "checks": _checks,
    }
)


def rendered_texture(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a field, and the three colours between which it fades.

    Args:
        size_hw: Height and width, in pixels.
        rng: The only source of chance.

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
