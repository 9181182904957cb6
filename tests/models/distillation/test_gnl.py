"""GNL: the views, the terms of the loss, and that codes of views come closer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.distillation import Gnl
from edge_ad.models.distillation.gnl import consistency
from edge_ad.models.distillation.views import augmix_view, grey_view
from tests.models.detectors import fit, train


@pytest.fixture
def detector() -> Gnl:
    made = create_detector("gnl", {"size": 64})
    assert isinstance(made, Gnl)
    return made


def test_grey_is_made_after_the_teachers_normalisation() -> None:
    image = torch.tensor([0.2, 0.5, 0.9]).reshape(1, 3, 1, 1)
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    view = grey_view(image, mean, deviation)
    normalised = [(float(view[0, c, 0, 0]) - mean[c]) / deviation[c] for c in range(3)]
    expected = 0.2989 * (0.2 - 0.485) / 0.229 + 0.587 * (0.5 - 0.456) / 0.224 + 0.114 * (0.9 - 0.406) / 0.225
    np.testing.assert_allclose(normalised, expected, atol=1e-6)


def test_grey_of_grey_is_nearly_itself(images: Tensor) -> None:
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(grey_view(grey, (127 / 255,) * 3, (128 / 255,) * 3), grey, atol=1e-4, rtol=0)


def test_augmix_views_follow_from_the_generator(images: Tensor) -> None:
    first, again, other = (augmix_view(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_consistency_is_the_sum_over_views() -> None:
    photo, turned = torch.tensor([[1.0, 0.0]])[..., None, None], torch.tensor([[0.6, 0.8]])[..., None, None]
    assert float(consistency(photo, [turned, -photo])) == pytest.approx(0.4 + 2.0)


def test_terms_have_the_published_weights(detector: Gnl, images: Tensor) -> None:
    batch, generator = TrainingBatch(images, fit(detector, images)), torch.Generator()
    stage = detector.stages()[0]
    detector.start_stage(stage)
    terms = detector.training_loss(batch, stage, generator.manual_seed(0))
    photo, *views = detector.all_seen(batch, generator.manual_seed(0))
    by_hand = {
        "levels": 0.9 * sum(_distance(a, b) for a, b in zip(photo.levels, photo.back, strict=True)),
        "bottleneck": 0.05 * sum(_distance(photo.code, view.code) for view in views),
        "decoder": 0.05 * sum(_distance(photo.back[0], view.back[0]) for view in views),
    }
    assert {name: float(term.detach()) for name, term in terms.items()} == pytest.approx(by_hand, rel=1e-4)


def test_codes_of_views_come_closer(detector: Gnl, images: Tensor) -> None:
    history = train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=15)
    assert history[-1]["levels"] < 0.7 * history[0]["levels"]
    assert history[-1]["bottleneck"] < history[0]["bottleneck"]


def test_gradients_flow_into_both_sides_of_a_consistency() -> None:
    photo, view = (torch.randn(2, 3, 2, 2, requires_grad=True) for _ in range(2))
    consistency(photo, [view]).backward()
    assert photo.grad is not None
    assert view.grad is not None
    assert photo.grad.abs().max() > 0
    assert view.grad.abs().max() > 0


def _distance(a: Tensor, b: Tensor) -> float:
    vectors = [x.detach().double().flatten(1).numpy() for x in (a, b)]
    norms = [np.linalg.norm(x, axis=1) for x in vectors]
    return float(np.mean(1 - (vectors[0] * vectors[1]).sum(1) / (norms[0] * norms[1])))
