"""Views of a photo as the line may take it on another day: other light, haze, focus, sensor noise, compression.

The kinds overlap with those of ImageNet-C that shift benchmarks use, at far lower strength. They are for fitting: what
a detector has seen vary between views of one photo does not count as a defect.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError

__all__ = ["LineView", "draw_view", "one_view_each", "photo_of_view", "with_views"]

_LIT_PIXELS = 256  # the side of a picture whose blur is given in pixels


class LineView(NamedTuple):
    """How a view differs from its photo.

    Attributes:
        gain: Factor of the light, > 0.
        gamma: Exponent of values in [0, 1], > 0.
        offset: Added to values in [0, 1].
        contrast: Factor of the distance to each colour's mean, > 0.
        blur: Standard deviation of a Gaussian, in pixels of a picture of 256 by 256.
        noise: Standard deviation of the noise, in grey levels of 255.
        jpeg_quality: 1 to 100; 0 leaves the view uncompressed.
        noise_seed: Of the noise.
    """

    gain: float
    gamma: float
    offset: float
    contrast: float
    blur: float
    noise: float
    jpeg_quality: int
    noise_seed: int

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The view of an image, uint8 (H, W, 3) BGR; what a camera does comes in a camera's order.

        Raises:
            UsageError: Another dtype or shape.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"The image must be uint8 (H, W, 3), not {image.dtype} {image.shape}.")
        values = np.power(np.clip(image / np.float32(255) * np.float32(self.gain), 0, 1), np.float32(self.gamma))
        mean = values.mean((0, 1), keepdims=True)
        values = (values - mean) * np.float32(self.contrast) + mean + np.float32(self.offset)
        sigma = self.blur * max(image.shape[:2]) / _LIT_PIXELS
        if sigma > 0:
            values = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
        noise = np.random.default_rng(self.noise_seed).standard_normal(values.shape, np.float32)
        pixels = np.clip(np.rint(values * 255 + np.float32(self.noise) * noise), 0, 255).astype(np.uint8)
        return _compressed(pixels, self.jpeg_quality) if self.jpeg_quality else pixels


def draw_view(generator: np.random.Generator) -> LineView:
    """A view at random: light by 0.6 to 1.6, focus by up to 1.5 px at 256, noise by up to 12 levels, half in JPEG."""
    return LineView(
        gain=_between(generator, 0.6, 1.6),
        gamma=_between(generator, 0.7, 1.4),
        offset=generator.uniform(-0.08, 0.08),
        contrast=generator.uniform(0.5, 1.1),
        blur=generator.uniform(0, 1.5),
        noise=generator.uniform(0, 12),
        jpeg_quality=int(generator.integers(40, 96)) if generator.random() < 0.5 else 0,
        noise_seed=int(generator.integers(1 << 32)),
    )


def with_views(images: NDArray[np.uint8], count: int, *, seed: int = 0, rotations: int = 0) -> NDArray[np.uint8]:
    """Images, and behind each of them views of it, and then rotations.

    Args:
        images: uint8 (N, H, W, 3) BGR.
        count: Views of each image, >= 0.
        seed: Of the views; the same for the same seed and place, whatever the image.
        rotations: Of each image, by equal parts of a turn.

    Returns:
        uint8 (N · (1 + count + rotations), H, W, 3); view v of image i is at ``i · (1 + count + rotations) + v``, the
        image itself is view 0.
    """
    if not count + rotations or not len(images):
        return images
    together = []
    for index, image in enumerate(images):
        together += [_view(image, index, view, seed) for view in range(1 + count)]
        together += [_rotated(image, 360 * (turn + 1) / (rotations + 1)) for turn in range(rotations)]
    return np.stack(together)


def _rotated(image: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """About its middle; what comes in from outside repeats the border."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def one_view_each(images: NDArray[np.uint8], count: int, draw: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Each image as itself or in one of the views that ``with_views`` gives of it: view ``(draw + i) mod (1 + count)``.

    Args:
        images: uint8 (N, H, W, 3) BGR.
        count: Views of each image, >= 0.
        draw: Which of them.
        seed: Of the views.

    Returns:
        uint8 (N, H, W, 3).
    """
    return np.stack([_view(image, index, (draw + index) % (1 + count), seed) for index, image in enumerate(images)])


def photo_of_view(total: int, count: int) -> NDArray[np.int64]:
    """Which photo each of the images of ``with_views`` is of: folds are made of photos, never of views.

    Args:
        total: Images, views among them.
        count: Views of each photo.

    Returns:
        int64 (total,), numbers of photos from 0.
    """
    return np.arange(total) // (1 + count)


def _view(image: NDArray[np.uint8], index: int, view: int, seed: int) -> NDArray[np.uint8]:
    return draw_view(np.random.default_rng((seed, view, index))).apply(image) if view else image


def _between(generator: np.random.Generator, low: float, high: float) -> float:
    """At random, halving and doubling being alike."""
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
