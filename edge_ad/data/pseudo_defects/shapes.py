"""Shapes of defects, as cover in [0, 1]: blobs, rotated rectangles and strokes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.perlin import fractal_noise
from edge_ad.data.pseudo_defects.site import Site

__all__ = ["blob", "rectangle", "stroke"]

_SUBPIXEL_BITS = 4


def blob(site: Site, *, softness: float = 0.8) -> NDArray[np.float32]:
    """An irregular patch of the wanted area: the top of a Perlin field that is raised around the centre.

    Args:
        site: Centre and area.
        softness: Standard deviation of the edge's blur, in pixels of a 256-pixel image.

    Returns:
        float32 (h, w) in [0, 1].
    """
    height, width = site.size_hw
    radius = np.sqrt(site.area / np.pi)
    rows = np.arange(height, dtype=np.float32)[:, None] - site.centre_yx[0]
    columns = np.arange(width, dtype=np.float32)[None, :] - site.centre_yx[1]
    stretch = np.float32(site.rng.uniform(0.6, 1.6))
    distance = np.sqrt((rows * stretch) ** 2 + (columns / stretch) ** 2) / np.float32(radius)
    # About two noise cells across the blob: coarser would leave an ellipse, finer would scatter it.
    cells = (_cells(height, radius), _cells(width, radius))
    field = fractal_noise((height, width), cells, site.rng, octaves=2) - np.float32(0.5) * distance
    count = min(max(int(site.area), 4), field.size - 1)
    limit = np.partition(field, field.size - count, axis=None)[field.size - count]
    return _softened((field >= limit).astype(np.float32), softness * site.scale)


def rectangle(site: Site, *, length: float, width: float, angle: float) -> NDArray[np.float32]:
    """A hard-edged rotated rectangle.

    Args:
        site: Centre.
        length: Longer side, in pixels.
        width: Shorter side, in pixels.
        angle: Of the longer side, in degrees.
    """
    cover = np.zeros(site.size_hw, np.uint8)
    corners = cv2.boxPoints(((site.centre_yx[1], site.centre_yx[0]), (length, width), angle))
    cv2.fillConvexPoly(cover, np.rint(corners).astype(np.int32), 1)
    return cover.astype(np.float32)


def stroke(site: Site, *, length: float, width: float) -> NDArray[np.float32]:
    """A bent line through the centre that fades towards its ends.

    Args:
        site: Centre.
        length: From end to end, in pixels.
        width: In pixels; may be a fraction.
    """
    along = np.linspace(-0.5, 0.5, 24)
    angle = site.rng.uniform(0.0, 2.0 * np.pi)
    bend = site.rng.uniform(-0.35, 0.35) * (along**2 - 0.08) + np.cumsum(site.rng.normal(0.0, 0.006, along.size))
    x = site.centre_yx[1] + length * (along * np.cos(angle) - bend * np.sin(angle))
    y = site.centre_yx[0] + length * (along * np.sin(angle) + bend * np.cos(angle))
    cover = np.zeros(site.size_hw, np.float32)
    points = np.rint(np.stack([x, y], axis=1) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    ends = site.rng.uniform(0.4, 1.0, 2)
    strengths = np.interp(along, [-0.5, -0.2, 0.2, 0.5], [ends[0], 1.0, 1.0, ends[1]])
    for start, end, strength in zip(points[:-1], points[1:], strengths[:-1], strict=True):
        cv2.line(cover, start, end, float(strength), max(1, round(width)), cv2.LINE_8, _SUBPIXEL_BITS)
    return _softened(cover, 0.35 * site.scale)


def _cells(pixels: int, radius: float) -> int:
    return int(np.clip(round(pixels / max(radius, 2.0)), 2, 64))


def _softened(cover: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    soft = cv2.GaussianBlur(cover, (0, 0), max(sigma, 0.1))
    return np.asarray(np.where(soft < 0.05, 0.0, soft), np.float32)
