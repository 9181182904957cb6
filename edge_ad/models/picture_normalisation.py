"""Light and contrast of a picture brought to those of the training photos, before a network sees it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["InputNormalisation", "PictureNormalisation", "picture_mean"]

InputNormalisation = Literal["none", "picture"]

_LEAST_VARIANCE = (1 / 255) ** 2  # of a picture of one colour, which stays one


class PictureNormalisation(nn.Module):
    """``(x - mean of each colour) · deviation of the photos / deviation + mean of each colour of the photos``.

    The deviation is one for all colours, of a pixel from its colour's mean: hues stay as far apart as they were. Gain,
    offset, haze and white balance of the whole picture fall out; so does what a defect changes in the mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("deviation", torch.ones(1, 1, 1, 1))

    @torch.no_grad()
    def fit(self, photos: Tensor) -> None:
        """Take the mean of what photos, uint8 RGB (N, 3, H, W), have."""
        moments = [_moments(photo[None] / 255.0) for photo in photos]
        for name, values in zip(("mean", "deviation"), zip(*moments, strict=True), strict=True):
            self.get_buffer(name).copy_(torch.cat(values).mean(0, keepdim=True))

    def forward(self, images: Tensor) -> Tensor:
        """Float RGB (N, 3, H, W) in [0, 1] → the same, in the photos' light; it may leave [0, 1]."""
        mean, deviation = _moments(images)
        return (images - mean) * (self.get_buffer("deviation") / deviation) + self.get_buffer("mean")


def picture_mean(values: Tensor) -> Tensor:
    """Mean over each picture, (N, C, H, W) → (N, C, 1, 1).

    Rows first: one sum of all 65 536 pixels of an image, as some engines add them up, is wrong in the fifth digit, and
    the distance of a patch amplifies that.
    """
    return values.mean(3, keepdim=True).mean(2, keepdim=True)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each colour (N, 3, 1, 1), and one deviation (N, 1, 1, 1)."""
    mean = picture_mean(images)
    variance = picture_mean((images - mean).square()).mean(1, keepdim=True)
    return mean, (variance + _LEAST_VARIANCE).sqrt()
