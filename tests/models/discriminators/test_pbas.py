"""PBAS term by term, and its ablations."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.discriminators import Pbas
from edge_ad.models.discriminators.centred import find_centres
from edge_ad.models.discriminators.discriminator import Patches
from tests.models.detectors import fit, train


def _pbas(**values: Any) -> Pbas:
    made = create_detector("pbas", {"size": 64, "hidden": 32, **values})
    assert isinstance(made, Pbas)
    return made


def _step(detector: Pbas) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Projected patches, their centres and the loss terms."""
    detector.head.train()
    torch.nn.init.normal_(detector.get_buffer("centres"))
    projected = torch.randn(2, 6, detector.patch_features.channels)
    generator = torch.Generator().manual_seed(5)
    terms = detector.boundary_loss(Patches(projected, torch.zeros(2, 6), projected), generator)
    flat = projected.flatten(0, 1)
    return flat, detector.centre_of(flat), terms


def test_its_terms_are_those_of_the_paper() -> None:
    detector = _pbas(degree=0.4, compactness_weight=2.0)
    normal, centre, terms = _step(detector)
    distance = (normal - centre).norm(dim=1)
    torch.testing.assert_close(terms["compactness"], 2 * distance.mean())
    fake = normal + (normal - centre) / distance[:, None] * distance.mean() * 0.4
    logits = detector.head.discriminate(torch.cat([normal, fake]))
    zeros, ones = torch.zeros(12), torch.ones(12)
    torch.testing.assert_close(terms["normal"], F.binary_cross_entropy_with_logits(logits[:12], zeros))
    torch.testing.assert_close(terms["synthetic"], F.binary_cross_entropy_with_logits(logits[12:], ones))


def test_noise_replaces_the_ray() -> None:
    detector = _pbas(synthesis="gaussian", noise=0.7)
    normal, _, terms = _step(detector)
    fake = normal + 0.7 * torch.randn(normal.shape, generator=torch.Generator().manual_seed(5))
    logits = detector.head.discriminate(torch.cat([normal, fake]))[12:]
    torch.testing.assert_close(terms["synthetic"], F.binary_cross_entropy_with_logits(logits, torch.ones(12)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"refine": False}, {"compactness"}),
        ({"compactness_weight": 0}, {"normal", "synthetic"}),
        ({}, {"compactness", "normal", "synthetic"}),
    ],
)
def test_components_can_be_left_out(values: dict[str, Any], expected: set[str]) -> None:
    assert set(_step(_pbas(**values))[2]) == expected


def test_without_refinement_the_score_is_the_distance_to_the_nearest_centre(images: Tensor) -> None:
    detector = _pbas(refine=False)
    fit(detector, images)
    with torch.no_grad():
        features = detector.patch_features(images)
        projected = detector.head.project(detector.head.standardisation(features))
        distances = torch.cdist(projected, detector.get_buffer("centres")).amin(2).reshape(4, 1, *detector.grid_hw)
        torch.testing.assert_close(detector.score_patches(features), distances, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("centre", ["average", "iterative", "clustering", "aligned"])
def test_training_draws_patches_to_their_centres(images: Tensor, centre: str) -> None:
    detector = _pbas(centre=centre, clusters=5, learning_rate=0.01)
    frozen = fit(detector, images)
    history = train(detector, TrainingBatch(torch.empty(4, 0), frozen), detector.stages()[-1], steps=30)
    assert history[-1]["compactness"] < 0.8 * history[0]["compactness"]
    assert torch.isfinite(torch.tensor(list(history[-1].values()))).all()


def test_centres_are_found_once_and_not_trained(images: Tensor) -> None:
    detector = _pbas()
    features = detector.patch_features(images)
    detector.fit_features(features, features)
    frozen = detector.frozen_outputs(images, features)
    train(detector, TrainingBatch(torch.empty(4, 0), frozen), detector.stages()[-1], steps=3)
    generator = torch.Generator().manual_seed(detector.config.seed)
    torch.testing.assert_close(detector.get_buffer("centres"), find_centres(frozen, "aligned", 256, generator))
