"""Foreign texture in a Perlin-shaped patch, as in DRAEM (Zavrtanik et al., 2021)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.perlin import fractal_noise
from edge_ad.data.pseudo_defects.cutpaste import displaced
from edge_ad.data.pseudo_defects.shapes import blob
from edge_ad.data.pseudo_defects.site import Draft, Site
from edge_ad.images import read_image

__all__ = ["perlin_texture"]


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
