"""The published form of reverse distillation, GNL and FiCo: WideResNet-50 and its mirror, with untrained weights."""

import pytest
import torch
from torch import Tensor

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.distillation import ReverseDistillation


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["reverse-distillation", "fico"])
def test_the_published_form_learns_and_is_folded(method: str, images: Tensor) -> None:
    detector = create_detector(method, {"size": 64, "form": "published", "weights": "random"})
    assert isinstance(detector, ReverseDistillation)
    assert detector.teacher.channels == (256, 512, 1024)
    batch, stage = TrainingBatch(images, detector.teacher(images)), detector.stages()[0]
    (group,) = detector.start_stage(stage)
    optimiser, losses = torch.optim.Adam(group["params"], 1e-3), []
    for _ in range(3):
        terms = detector.training_loss(batch, stage, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        optimiser.step()
        losses.append(float(terms["levels"].detach()))
    assert losses[-1] < losses[0]
    detector.eval()
    with torch.no_grad():
        levels = detector.student(detector.bottleneck(detector.teacher.levels(images)))
        assert all(float(level.min()) >= 0 for level in levels)
        torch.testing.assert_close(detector.deployed()(images).score, detector(images).score, rtol=1e-3, atol=1e-4)
