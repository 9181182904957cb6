"""Distances of levels: against values by hand, against scipy, and against the steps that one product replaces."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from edge_ad.models.distillation.distance import (
    CosineMap,
    gaussian_matrix,
    image_distance,
    level_loss,
    position_distance,
    upsampling_matrix,
)


def test_the_loss_sees_an_image_as_one_vector() -> None:
    a = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).reshape(1, 2, 1, 2)
    b = torch.tensor([[4.0, 0.0], [0.0, 3.0]]).reshape(1, 2, 1, 2)
    assert float(image_distance(a, b)) == pytest.approx(1 - 24 / 25)  # position by position it would be 0
    assert float(level_loss([a, a], [b, -b])) == pytest.approx(2.0)


def test_positions_are_compared_by_their_angle() -> None:
    a, b = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1), torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    assert float(position_distance(a, b)) == pytest.approx(0.4)
    assert float(position_distance(a, torch.zeros(1, 2, 1, 1))) == 1.0


def test_interpolation_keeps_the_corners() -> None:
    found = upsampling_matrix(64, 4) @ np.diag([1.0, 2.0, 3.0, 4.0])
    expected = F.interpolate(torch.diag(torch.arange(1.0, 5))[None], 64, mode="linear", align_corners=True)
    np.testing.assert_allclose(found, expected[0].T.numpy(), atol=1e-5)


@pytest.mark.parametrize("sigma", [0.5, 4.0])
def test_smoothing_is_scipys_with_reflected_borders(sigma: float) -> None:
    image = np.random.default_rng(0).normal(size=(64, 64))
    matrix = gaussian_matrix(64, sigma)
    np.testing.assert_allclose(matrix @ image @ matrix.T, gaussian_filter(image, sigma), atol=1e-12)


def test_a_filter_wider_than_the_map_is_reflected_again_and_again() -> None:
    image = np.random.default_rng(0).normal(size=(64, 64))
    matrix = gaussian_matrix(64, 40.0)
    np.testing.assert_allclose(matrix @ image @ matrix.T, gaussian_filter(image, 40.0), atol=1e-12)


def test_the_map_is_the_published_one() -> None:
    shapes = [(2, 3, 32, 16), (2, 5, 16, 8), (2, 7, 8, 4)]
    teacher, student = ([torch.randn(shape) for shape in shapes] for _ in range(2))
    expected = torch.zeros(2, 128, 64)
    for a, b in zip(teacher, student, strict=True):
        distance = (1 - F.cosine_similarity(a, b))[:, None]
        expected += F.interpolate(distance, (128, 64), mode="bilinear", align_corners=True)[:, 0]
    smoothed = np.stack([gaussian_filter(image, 4.0) for image in expected.numpy()])
    found = CosineMap((128, 64), (4, 8, 16), 4.0)(teacher, student)
    np.testing.assert_allclose(found[:, 0].numpy(), smoothed, atol=2e-6)
