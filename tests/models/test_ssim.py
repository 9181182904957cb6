"""SSIM against a loop over windows and against hand values."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_ad.models.similarity import ssim


def _reference(a: NDArray[np.float64], b: NDArray[np.float64], window: int, sigma: float) -> NDArray[np.float64]:
    """SSIM of two (H, W) images by its definition: weighted moments of every whole window."""
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    rows, columns = a.shape[0] - window + 1, a.shape[1] - window + 1
    out = np.zeros((rows, columns))
    for y in range(rows):
        for x in range(columns):
            p, q = a[y : y + window, x : x + window], b[y : y + window, x : x + window]
            mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
            var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
            cov = (weights * (p - mean_p) * (q - mean_q)).sum()
            luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
            out[y, x] = luminance * (2 * cov + 9e-4) / (var_p + var_q + 9e-4)
    return out


@pytest.mark.parametrize(("window", "sigma"), [(11, 1.5), (7, 2.0)])
def test_agrees_with_the_definition_window_by_window(window: int, sigma: float) -> None:
    a, b = torch.rand(2, 3, 16, 14, dtype=torch.float64), torch.rand(2, 3, 16, 14, dtype=torch.float64)
    got = ssim(a, b, window=window, sigma=sigma).numpy()
    for image in range(2):
        for channel in range(3):
            expected = _reference(a[image, channel].numpy(), b[image, channel].numpy(), window, sigma)
            np.testing.assert_allclose(got[image, channel], expected, atol=1e-10)


def test_identical_images_score_one() -> None:
    image = torch.rand(1, 3, 20, 20)
    torch.testing.assert_close(ssim(image, image), torch.ones(1, 3, 10, 10), atol=1e-5, rtol=0)


def test_flat_images_are_compared_by_brightness_alone() -> None:
    dark, bright = torch.full((1, 1, 11, 11), 0.2), torch.full((1, 1, 11, 11), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    assert ssim(dark, bright).item() == pytest.approx(expected, abs=1e-4)


def test_an_inverted_texture_is_worse_than_a_flat_one() -> None:
    texture = torch.rand(1, 1, 16, 16)
    assert ssim(texture, 1 - texture).mean() < ssim(texture, torch.full_like(texture, 0.5)).mean() < 0.5
