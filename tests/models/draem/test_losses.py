"""Terms of DRAEM's loss against values worked out by hand, and against other formulas."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_ad.models.base import TrainingBatch
from edge_ad.models.draem import Draem, DraemParameters
from edge_ad.models.draem.draem import focal_loss
from edge_ad.models.draem.networks import fold, unfold
from edge_ad.models.similarity import ssim


def _logits(*anomalous: float) -> torch.Tensor:
    """Logits of one row of pixels with these probabilities of the anomalous class."""
    p = torch.tensor(anomalous, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()])[None, :, None].float()


def test_focal_loss_is_the_hand_computed_mean() -> None:
    masks = torch.tensor([[[[1.0, 0.0, 1.0]]]])
    # p of the true class: 0.8, 0.7, 0.1 → 0.04·0.223144 + 0.09·0.356675 + 0.81·2.302585
    expected = (0.04 * 0.22314355 + 0.09 * 0.35667494 + 0.81 * 2.30258509) / 3
    assert focal_loss(_logits(0.8, 0.3, 0.1), masks).item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_without_focusing_is_the_cross_entropy() -> None:
    logits, masks = torch.randn(2, 2, 5, 7), (torch.rand(2, 1, 5, 7) > 0.5).float()
    expected = torch.nn.functional.cross_entropy(logits, masks[:, 0].long())
    assert focal_loss(logits, masks, focusing=0.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_focal_loss_has_finite_gradients_where_the_network_is_certain() -> None:
    logits = torch.tensor([[[[80.0, -80.0]], [[-80.0, 80.0]]]], requires_grad=True)
    focal_loss(logits, torch.tensor([[[[0.0, 0.0]]]])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def _ssim_of_window(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """SSIM of one 11×11 window, in covariances, and by its three factors."""
    axis = np.arange(11) - 5
    weights = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    deviation_a, deviation_b = (np.sqrt((weights * (x - m) ** 2).sum()) for x, m in ((a, mean_a), (b, mean_b)))
    covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 1e-4, 9e-4
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    contrast = (2 * deviation_a * deviation_b + c2) / (deviation_a**2 + deviation_b**2 + c2)
    structure = (covariance + c2 / 2) / (deviation_a * deviation_b + c2 / 2)
    return float(luminance * contrast * structure)


def test_ssim_of_eleven_is_the_product_of_luminance_contrast_and_structure() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 11, 11))
    found = ssim(*(torch.from_numpy(x)[None, None] for x in (a, b))).item()
    assert found == pytest.approx(_ssim_of_window(a, b), rel=1e-9)


def test_the_loss_has_the_three_terms_between_restoration_and_good_image() -> None:
    torch.manual_seed(0)
    detector = Draem(DraemParameters(size=32, ssim_weight=0.5, focusing=1.0), pretrained=False)
    detector.start_stage(detector.stages()[0])
    good, defective, masks = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    masks[0, :, 4:9, 5:20] = 1
    batch = TrainingBatch(good, torch.empty(2, 0), defective, masks)
    terms = detector.training_loss(batch, detector.stages()[0], torch.Generator())
    blocks = fold(defective, 4)
    restored = detector.reconstructive(blocks)
    logits = unfold(detector.discriminative(restored, blocks), 4).detach().double().numpy()
    restored_image = unfold(restored, 4).detach()
    difference = restored_image.double().numpy() - good.double().numpy()
    assert terms["l2"].item() == pytest.approx((difference**2).mean(), rel=1e-4)
    assert terms["ssim"].item() == pytest.approx(0.5 * (1 - ssim(restored_image, good).mean().item()), rel=1e-4)
    anomalous = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    p = np.where(masks[:, 0].numpy() > 0, anomalous, 1 - anomalous)
    assert terms["focal"].item() == pytest.approx(float((-(1 - p) * np.log(p)).mean()), rel=1e-3)
