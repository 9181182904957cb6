from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_ad.training.feature_cache import cached_features, to_tensor


class _Counting(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images[:, :, ::8, ::8] * self.get_buffer("gain")


def _images(value: int = 10) -> np.ndarray:
    return np.full((3, 16, 16, 3), value, np.uint8)


def test_features_are_computed_once_for_the_same_pixels_and_weights() -> None:
    backbone = _Counting()
    first = cached_features(backbone, _images())
    assert torch.equal(first, cached_features(backbone, _images()))
    assert backbone.calls == 1


@pytest.mark.parametrize(("gain", "value"), [(2.0, 10), (1.0, 11)])
def test_other_weights_or_pixels_are_computed_anew(gain: float, value: int) -> None:
    cached_features(_Counting(), _images())
    backbone = _Counting(gain)
    features = cached_features(backbone, _images(value))
    assert backbone.calls == 1
    assert torch.allclose(features, torch.full_like(features, gain * value / 255))


def test_a_damaged_cache_file_is_computed_anew(tmp_path: Path) -> None:
    backbone = _Counting()
    first = cached_features(backbone, _images())
    (path,) = (tmp_path / "cache" / "features").iterdir()
    path.write_bytes(b"garbage")
    assert torch.equal(first, cached_features(backbone, _images()))


def test_images_become_rgb_in_zero_to_one() -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[..., 0] = 255  # blue in BGR
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor[0, 2].eq(1).all()
    assert tensor[0, :2].eq(0).all()
