"""Six kinds of defects of the sample part: two of its shape, four of its surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.drawing import BOLT_CENTRES, HALF_SIDE, Outline, clouds
from edge_ad.data.sample_product.surface import Surface

__all__ = ["DEFECT_KINDS", "SHAPE_DEFECTS", "SURFACE_DEFECTS"]

_SUBPIXEL_BITS = 4


def missing_hole(outline: Outline, rng: np.random.Generator) -> Outline:
    """One of the four bolt holes was never drilled."""
    x, y = BOLT_CENTRES[int(rng.integers(len(BOLT_CENTRES)))]
    return replace(outline, holes=tuple(hole for hole in outline.holes if (hole.x, hole.y) != (x, y)))


def edge_chip(outline: Outline, rng: np.random.Generator) -> Outline:
    """A ragged piece is broken out of the outer edge, with a small burr beside it."""
    along, side = float(rng.uniform(-0.5, 0.5)), int(rng.integers(4))
    x, y = _on_side(side, along)
    bite = _ragged_disc(outline, x, y, float(rng.uniform(0.065, 0.115)), rng)
    burr_x, burr_y = _on_side(side, along + float(rng.choice([-1.0, 1.0])) * 0.15)
    burr = _ragged_disc(outline, burr_x, burr_y, float(rng.uniform(0.016, 0.024)), rng)
    return replace(outline, edge=np.asarray(np.minimum(np.maximum(outline.edge, -bite), burr), np.float32))


def scratch(outline: Outline, surface: Surface, rng: np.random.Generator) -> None:
    """A shallow, slightly bent line with a bright flank and a dark one, fading towards its ends."""
    x, y = _place(outline, rng, clearance=0.06)
    length, angle = float(rng.uniform(0.25, 0.6)), float(rng.uniform(0.15, np.pi - 0.15))
    along = np.linspace(-0.5, 0.5, 24)
    bend = float(rng.uniform(-0.25, 0.25)) * along**2
    points = np.stack(
        [
            x + length * (along * np.cos(angle) - bend * np.sin(angle)),
            y + length * (along * np.sin(angle) + bend * np.cos(angle)),
        ],
        axis=1,
    )
    ink = _polyline(outline, points, float(rng.uniform(0.008, 0.014)), np.clip(2.5 - 5.0 * np.abs(along), 0.3, 1.0))
    _groove(outline, surface, ink, depth=float(rng.uniform(0.35, 0.6)))
    surface.reflectance *= (1.0 + rng.uniform(0.3, 0.5) * ink)[..., None]


def dent(outline: Outline, surface: Surface, rng: np.random.Generator) -> None:
    """A hollow: its far wall glints, its near wall is dark."""
    x, y = _place(outline, rng, clearance=0.09)
    radius, stretch = float(rng.uniform(0.032, 0.06)), float(rng.uniform(0.75, 1.3))
    dx, dy = (outline.x - x) * stretch / radius, (outline.y - y) / stretch / radius
    bowl = np.exp(-0.5 * (dx * dx + dy * dy))
    depth = float(rng.uniform(0.8, 1.2))
    surface.slope[..., 0] += depth * dx * bowl * -1.0
    surface.slope[..., 1] += depth * dy * bowl * -1.0
    surface.reflectance *= (1.0 - 0.22 * bowl)[..., None]


def stain(outline: Outline, surface: Surface, rng: np.random.Generator) -> None:
    """A thin brown film of oil or rust with an irregular rim."""
    x, y = _place(outline, rng, clearance=0.05)
    disc = _ragged_disc(outline, x, y, float(rng.uniform(0.08, 0.15)), rng)
    film = np.clip(0.5 - disc / 0.03, 0.0, 1.0)
    rim = np.exp(-((disc / 0.018) ** 2))
    strength = float(rng.uniform(0.16, 0.36))
    absorbed = strength * (film + 0.35 * rim)
    tint = np.array([1.35, 1.0, 0.72], np.float32)  # blue is absorbed most
    surface.reflectance *= np.clip(1.0 - absorbed[..., None] * tint, 0.0, 1.0).astype(np.float32)


def crack(outline: Outline, surface: Surface, rng: np.random.Generator) -> None:
    """A dark, jagged, branching line that starts at a hole."""
    hole = outline.holes[int(rng.integers(len(outline.holes)))]
    # Towards the middle of the plate: outwards some holes leave no metal to crack.
    inward = np.arctan2(-hole.y, -hole.x) if (hole.x, hole.y) != (0.0, 0.0) else rng.uniform(-np.pi, np.pi)
    heading = float(inward + rng.uniform(-1.1, 1.1))
    start = (hole.x + hole.radius * np.cos(heading), hole.y + hole.radius * np.sin(heading))
    main = _jagged(start, heading, float(rng.uniform(0.25, 0.42)), rng)
    fork = main[int(rng.integers(len(main) // 3, 2 * len(main) // 3))]
    turn = heading + float(rng.choice([-1.0, 1.0])) * 0.7
    branch = _jagged((float(fork[0]), float(fork[1])), turn, float(rng.uniform(0.08, 0.16)), rng)
    width = float(rng.uniform(0.007, 0.013))
    ink = _polyline(outline, main, width, np.linspace(1.0, 0.55, len(main)))
    ink = np.maximum(ink, _polyline(outline, branch, width, np.linspace(0.8, 0.4, len(branch))))
    surface.reflectance *= np.clip(1.0 - 1.1 * ink, 0.08, 1.0)[..., None]
    _groove(outline, surface, ink, depth=0.25)


SHAPE_DEFECTS = MappingProxyType[str, Callable[[Outline, np.random.Generator], Outline]](
    {"edge_chip": edge_chip, "missing_hole": missing_hole}
)
SURFACE_DEFECTS = MappingProxyType[str, Callable[[Outline, Surface, np.random.Generator], None]](
    {"crack": crack, "dent": dent, "scratch": scratch, "stain": stain}
)
DEFECT_KINDS = tuple(sorted((*SHAPE_DEFECTS, *SURFACE_DEFECTS)))


def _on_side(side: int, along: float) -> tuple[float, float]:
    return ((along, -HALF_SIDE), (HALF_SIDE, along), (along, HALF_SIDE), (-HALF_SIDE, along))[side]


def _place(outline: Outline, rng: np.random.Generator, *, clearance: float) -> tuple[float, float]:
    rows, columns = np.nonzero(outline.distance < -clearance)
    chosen = int(rng.integers(rows.size))
    return float(outline.x[rows[chosen], columns[chosen]]), float(outline.y[rows[chosen], columns[chosen]])


def _ragged_disc(outline: Outline, x: float, y: float, radius: float, rng: np.random.Generator) -> NDArray[np.float32]:
    distance = np.hypot(outline.x - np.float32(x), outline.y - np.float32(y)) - np.float32(radius)
    noise = clouds((outline.x.shape[0], outline.x.shape[1]), (16, 16), rng, octaves=2)
    return np.asarray(distance + np.float32(0.55 * radius) * noise, np.float32)


def _jagged(start: tuple[float, float], heading: float, length: float, rng: np.random.Generator) -> NDArray[np.float64]:
    steps = 12
    headings = heading + np.cumsum(rng.normal(0.0, 0.12, steps)) + rng.normal(0.0, 0.45, steps)
    moves = length / steps * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.concatenate([[start], np.array(start) + np.cumsum(moves, axis=0)])


def _polyline(
    outline: Outline, points: NDArray[np.float64], width: float, strengths: NDArray[np.float64]
) -> NDArray[np.float32]:
    height, columns = outline.x.shape
    centre = np.array([(columns - 1) / 2, (height - 1) / 2])
    pixels = np.rint((points / outline.pixel + centre) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    ink = np.zeros((height, columns), np.uint8)  # only 8-bit images get anti-aliased lines
    for start, end, strength in zip(pixels[:-1], pixels[1:], strengths[:-1], strict=True):
        level = round(255 * float(strength))
        cv2.line(ink, start, end, level, max(1, round(width / outline.pixel)), cv2.LINE_AA, _SUBPIXEL_BITS)
    soft = cv2.GaussianBlur(ink.astype(np.float32) / np.float32(255.0), (0, 0), 0.003 / outline.pixel)
    return np.asarray(soft, np.float32)


def _groove(outline: Outline, surface: Surface, ink: NDArray[np.float32], *, depth: float) -> None:
    down_y, down_x = np.gradient(ink)
    reach = depth * 0.0078 / outline.pixel  # a flank is as steep in a larger photo
    surface.slope[..., 0] += reach * down_x * 2.0
    surface.slope[..., 1] += reach * down_y * 2.0
