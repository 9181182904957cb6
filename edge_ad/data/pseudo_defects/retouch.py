"""Subtle defects made of the image's own pixels: local blur, a brightness smear, a thin scratch."""

from __future__ import annotations

import cv2
import numpy as np

from edge_ad.data.pseudo_defects.shapes import blob, stroke
from edge_ad.data.pseudo_defects.site import Draft, Site

__all__ = ["last_resort", "local_blur", "scratch", "smear"]


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
    """A patch that shows on any image: every pixel moves by 80 levels, towards the side with more room."""
    image = site.image.astype(np.float32)
    return Draft(blob(site), np.asarray(np.where(image < 128.0, image + 80.0, image - 80.0), np.float32))
