"""Kinds of pseudo-defects that are painted on photos of good parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.simulated_defects.textures import fractal_noise
from edge_ad.images import read_image

__all__ = [
    "Draft",
    "Site",
    "blob",
    "cutpaste",
    "displaced",
    "last_resort",
    "local_blur",
    "perlin_texture",
    "rectangle",
    "scar",
    "scratch",
    "smear",
    "stroke",
]

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Site:
    """Where and how large a defect is to be.

    Attributes:
        image: uint8 (h, w, 3) BGR, the good image.
        centre_yx: Centre of the defect, in pixels.
        area: Wanted area, in pixels.
        textures: Photographs to take texture from; may be empty.
        rng: The only source of randomness.
    """

    image: NDArray[np.uint8]
    centre_yx: tuple[int, int]
    area: float
    textures: Sequence[Path]
    rng: np.random.Generator

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image, in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def scale(self) -> float:
        """How much longer the image's mean side is than 256 pixels."""
        return float(np.sqrt(self.image.shape[0] * self.image.shape[1])) / 256.0


@dataclass(frozen=True)
class Draft:
    """A defect before it is blended in.

    Attributes:
        cover: float32 (h, w) in [0, 1]: how much of the source shows; 0 outside the defect.
        source: float32 (h, w, 3) in [0, 255]: what the defect looks like.
    """

    cover: NDArray[np.float32]
    source: NDArray[np.float32]


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


def cutpaste(site: Site) -> Draft:
    """A rectangle of the wanted area, of aspect ratio 1 to 3.3, in any direction."""
    ratio = float(np.exp(site.rng.uniform(0.0, np.log(3.3))))
    length, width = np.sqrt(site.area * ratio), np.sqrt(site.area / ratio)
    cover = rectangle(site, length=length, width=width, angle=float(site.rng.uniform(0.0, 180.0)))
    return Draft(cover, displaced(site, jitter=0.1))


def scar(site: Site) -> Draft:
    """A thin rectangle, five to twelve times as long as wide, in any direction."""
    # A scar of 5 % of the image would cross all of it; the published ones are 2 to 16 by 10 to 25 pixels of 256.
    area = min(site.area, 0.012 * site.image.shape[0] * site.image.shape[1])
    ratio = float(site.rng.uniform(5.0, 12.0))
    length, width = np.sqrt(area * ratio), max(2.0, np.sqrt(area / ratio))
    cover = rectangle(site, length=length, width=width, angle=float(site.rng.uniform(0.0, 180.0)))
    return Draft(cover, displaced(site, jitter=0.2))


def displaced(site: Site, *, jitter: float) -> NDArray[np.float32]:
    """The image moved by at least a tenth of its side, turned, and changed a little in contrast and brightness.

    Args:
        site: The image.
        jitter: Largest relative change of contrast, and of brightness in units of full scale.

    Returns:
        float32 (h, w, 3) in [0, 255].
    """
    height, width = site.size_hw
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(site.rng.uniform(-180.0, 180.0)), 1.0)
    direction = site.rng.uniform(0.0, 2.0 * np.pi)
    distance = site.rng.uniform(0.1, 0.5)
    matrix[:, 2] += distance * np.array([width * np.cos(direction), height * np.sin(direction)])
    moved = cv2.warpAffine(site.image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    contrast = 1.0 + site.rng.uniform(-jitter, jitter)
    brightness = 255.0 * site.rng.uniform(-jitter, jitter)
    return np.asarray(np.clip(moved.astype(np.float32) * contrast + brightness, 0.0, 255.0), np.float32)


def local_blur(site: Site) -> Draft:
    """Detail worn away: a Gaussian of 1.5 to 4 pixels, at 256 pixels."""
    sigma = float(site.rng.uniform(1.5, 4.0)) * site.scale
    return Draft(blob(site), cv2.GaussianBlur(site.image, (0, 0), sigma).astype(np.float32))


def smear(site: Site) -> Draft:
    """A stain with a soft edge: brightness shifted by 20 to 70 levels, contrast by up to a third."""
    shift = float(site.rng.uniform(20.0, 70.0)) * float(site.rng.choice([-1.0, 1.0]))
    contrast = float(site.rng.uniform(0.67, 1.33))
    image = site.image.astype(np.float32)
    source = (image - image.mean()) * contrast + image.mean() + shift
    return Draft(blob(site, softness=2.0), np.asarray(np.clip(source, 0.0, 255.0), np.float32))


def scratch(site: Site) -> Draft:
    """A bright or dark line, one to three pixels wide at 256 pixels."""
    width = float(site.rng.uniform(1.0, 3.0)) * site.scale
    longest = 0.6 * min(site.size_hw)
    length = float(np.clip(site.area / width, 10.0 * site.scale, longest))
    shift = float(site.rng.uniform(35.0, 120.0)) * float(site.rng.choice([-1.0, 1.0]))
    source = np.clip(site.image.astype(np.float32) + shift, 0.0, 255.0)
    return Draft(stroke(site, length=length, width=width), np.asarray(source, np.float32))


def last_resort(site: Site) -> Draft:
    """A patch that shows on any image: every pixel moves by 80 levels, away from the nearer end of the scale."""
    image = site.image.astype(np.float32)
    return Draft(blob(site), np.asarray(np.where(image < 128.0, image + 80.0, image - 80.0), np.float32))


def perlin_texture(site: Site) -> Draft:
    """A photograph's texture where there are photographs; else the image itself, moved and altered, or noise."""
    if site.textures:
        source = _photographed(site)
    elif site.rng.random() < 0.5:
        source = displaced(site, jitter=0.35)
    else:
        source = _rendered(site)
    return Draft(blob(site), _in_colours_of(site.image, source))


def _photographed(site: Site) -> NDArray[np.float32]:
    photo = read_image(site.textures[int(site.rng.integers(len(site.textures)))])
    height, width = site.size_hw
    # A crop of half to all of the photo, so that its grain comes in several sizes.
    share = site.rng.uniform(0.5, 1.0)
    crop_h, crop_w = max(1, int(photo.shape[0] * share)), max(1, int(photo.shape[1] * share))
    top = int(site.rng.integers(photo.shape[0] - crop_h + 1))
    left = int(site.rng.integers(photo.shape[1] - crop_w + 1))
    crop = photo[top : top + crop_h, left : left + crop_w]
    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _rendered(site: Site) -> NDArray[np.float32]:
    cells = int(site.rng.integers(8, 33))
    noise = fractal_noise(site.size_hw, (cells, cells), site.rng, octaves=2)
    low, high = site.rng.uniform(0.0, 255.0, (2, 3)).astype(np.float32)
    return np.asarray(low + (high - low) * np.clip(noise[..., None] + 0.5, 0.0, 1.0), np.float32)


def _in_colours_of(image: NDArray[np.uint8], source: NDArray[np.float32]) -> NDArray[np.float32]:
    # On an image without colour, any colour at all would be a give-away.
    thumbnail = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.int16)
    if float(np.ptp(thumbnail, axis=2).mean()) > 3.0:
        return source
    return np.repeat(source.mean(axis=2, keepdims=True), 3, axis=2).astype(np.float32)
