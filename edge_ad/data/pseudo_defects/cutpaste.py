"""CutPaste (Li et al., 2021): a patch of the image itself, put elsewhere, as a rectangle or a scar."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects.shapes import rectangle
from edge_ad.data.pseudo_defects.site import Draft, Site

__all__ = ["cutpaste", "displaced", "scar"]


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
