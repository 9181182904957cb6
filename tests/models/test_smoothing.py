"""Smoothing filters against OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_ad.models.smoothing import GaussianFilter, MeanFilter


def _box_sum(image: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    total: NDArray[np.float64] = cv2.boxFilter(
        image.astype(np.float64), -1, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return total


@pytest.mark.parametrize(("window", "size_hw"), [(21, (40, 33)), (5, (9, 12)), (21, (12, 15))])
def test_mean_filter_averages_the_pixels_that_exist(window: int, size_hw: tuple[int, int]) -> None:
    anomaly_map = torch.rand(2, 1, *size_hw)
    got = MeanFilter(window)(anomaly_map).numpy()
    pixels = _box_sum(np.ones(size_hw), window)
    for image, smooth in zip(anomaly_map[:, 0].numpy(), got[:, 0], strict=True):
        np.testing.assert_allclose(smooth, _box_sum(image, window) / pixels, atol=1e-6)


@pytest.mark.parametrize(("sigma", "size_hw"), [(4.0, (64, 48)), (1.5, (16, 16)), (4.0, (8, 8))])
def test_gaussian_filter_agrees_with_opencv_on_replicated_borders(sigma: float, size_hw: tuple[int, int]) -> None:
    anomaly_map = torch.rand(2, 1, *size_hw)
    gaussian = GaussianFilter(sigma)
    side = 2 * gaussian.radius + 1
    got = gaussian(anomaly_map).numpy()
    for image, smooth in zip(anomaly_map[:, 0].numpy(), got[:, 0], strict=True):
        expected = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(smooth, expected, atol=1e-5)


@pytest.mark.parametrize("smoothing", [MeanFilter(), GaussianFilter()])
def test_a_flat_map_stays_flat_to_the_border(smoothing: torch.nn.Module) -> None:
    flat = torch.full((1, 1, 32, 32), 0.7)
    torch.testing.assert_close(smoothing(flat), flat)
