"""Multi-scale gradient magnitude similarity against NumPy and hand values."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.models.similarity import MSGMS

C = 0.0026


def _gradient(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = grey.shape
    p = np.pad(grey, 1, mode="edge")
    columns, rows = p[:, :-2] - p[:, 2:], p[:-2] - p[2:]
    across = (columns[:height] + columns[1 : height + 1] + columns[2:]) / 3
    down = (rows[:, :width] + rows[:, 1 : width + 1] + rows[:, 2:]) / 3
    magnitude: NDArray[np.float64] = np.hypot(across, down)
    return magnitude


def _reference(a: NDArray[np.float64], b: NDArray[np.float64], scales: int) -> NDArray[np.float64]:
    """Mean of 1 - GMS over scales of two (H, W, 3) images."""
    height, width = a.shape[:2]
    grey_a, grey_b = a.mean(2), b.mean(2)
    maps = []
    for scale in range(scales):
        if scale:
            grey_a, grey_b = (x.reshape(len(x) // 2, 2, -1, 2).mean((1, 3)) for x in (grey_a, grey_b))
        one, two = _gradient(grey_a), _gradient(grey_b)
        distance = 1 - (2 * one * two + C) / (one**2 + two**2 + C)
        maps.append(cv2.resize(distance, (width, height), interpolation=cv2.INTER_LINEAR))
    mean: NDArray[np.float64] = np.stack(maps).mean(0)
    return mean


def test_agrees_with_numpy_over_four_scales() -> None:
    a, b = torch.rand(1, 3, 32, 48, dtype=torch.float64), torch.rand(1, 3, 32, 48, dtype=torch.float64)
    expected = _reference(a[0].permute(1, 2, 0).numpy(), b[0].permute(1, 2, 0).numpy(), 4)
    np.testing.assert_allclose(MSGMS().double()(a, b)[0, 0].numpy(), expected, atol=1e-6)


def test_a_step_against_a_flat_image_gives_the_hand_value() -> None:
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1.0
    got = MSGMS(scales=1)(torch.zeros(1, 3, 8, 8), step)[0, 0]
    expected = torch.zeros(8, 8)
    expected[:, 3:5] = 1 - C / (1 + C)  # the two columns beside the step have gradient 1
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_identical_images_are_at_distance_zero_and_never_below(images: Tensor) -> None:
    for image in (images, torch.full((1, 3, 32, 32), 0.4)):
        distance = MSGMS()(image, image)
        assert distance.abs().max() < 1e-6


def test_is_symmetric_and_below_one(images: Tensor) -> None:
    msgms = MSGMS()
    forth = msgms(images[:2], images[2:])
    torch.testing.assert_close(forth, msgms(images[2:], images[:2]))
    assert forth.max() < 1
    assert forth.min() > -1e-6


def test_a_change_of_brightness_alone_is_not_seen(images: Tensor) -> None:
    msgms = MSGMS()
    assert msgms(images, images * 1.0 + 0.1).abs().max() < 1e-3
    torch.testing.assert_close(msgms(images[:2], images[2:] + 0.2), msgms(images[:2], images[2:]), atol=1e-3, rtol=0)


def test_the_loss_is_the_mean_over_pixels_and_scales(images: Tensor) -> None:
    msgms = MSGMS()
    expected = torch.stack([x.mean() for x in msgms.distances(images[:2], images[2:])]).mean()
    assert msgms.loss(images[:2], images[2:]).item() == pytest.approx(expected.item())
    assert [tuple(x.shape[2:]) for x in msgms.distances(images[:2], images[2:])] == [
        (64, 64),
        (32, 32),
        (16, 16),
        (8, 8),
    ]


@pytest.mark.parametrize("target", [0.3, 0.7])
def test_the_gradient_is_finite_where_both_images_are_flat(target: float) -> None:
    flat = torch.full((1, 3, 16, 16), 0.3, requires_grad=True)
    (gradient,) = torch.autograd.grad(MSGMS().loss(flat, torch.full((1, 3, 16, 16), target)), flat)
    assert torch.isfinite(gradient).all()


def test_the_loss_pulls_a_flat_reconstruction_with_some_noise_towards_the_texture(images: Tensor) -> None:
    msgms = MSGMS()
    reconstruction = (0.5 + 0.01 * torch.rand_like(images)).requires_grad_()
    before = msgms.loss(reconstruction, images)
    (gradient,) = torch.autograd.grad(before, reconstruction)
    step = 0.05 * gradient / gradient.abs().max()
    assert msgms.loss(reconstruction - step, images) < before


def test_half_precision_keeps_faint_gradients() -> None:
    ramp = (0.004 * torch.arange(64)).expand(1, 3, 64, 64).half()
    assert MSGMS(scales=1).half()(ramp, ramp).abs().max() < 2e-3
