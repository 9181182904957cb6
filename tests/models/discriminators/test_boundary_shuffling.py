"""Boundary shuffling: eq. 1 to 9 where they can be seen, and a switch for each part."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models import create_detector
from edge_ad.models.base import TrainingBatch
from edge_ad.models.discriminators import BoundaryShuffling
from edge_ad.models.discriminators.discriminator import Patches
from tests.models.detectors import fit, train


def _detector(**values: Any) -> BoundaryShuffling:
    made = create_detector("boundary-shuffling", {"size": 64, "hidden": 32, **values})
    assert isinstance(made, BoundaryShuffling)
    return made


def _patches(detector: BoundaryShuffling) -> Patches:
    detector.head.train()
    torch.nn.init.normal_(detector.get_buffer("centres"))
    height, width = detector.grid_hw
    everything = torch.randn(2, height * width, detector.patch_features.channels)
    chosen = torch.tensor([[0, 5, 9, 11], [1, 2, 3, 63]])
    projected = everything.gather(1, chosen[..., None].expand(-1, -1, everything.shape[2]))
    return Patches(everything, chosen, projected)


def _terms(detector: BoundaryShuffling, patches: Patches) -> dict[str, Tensor]:
    return detector.boundary_loss(patches, torch.Generator().manual_seed(5))


def test_distances_and_radii_enter_as_in_the_paper() -> None:
    detector = _detector(reach=1.5, tightness=0.8, contrast_margin=0.2, mean_weight=2.0, variation_weight=3.0)
    torch.nn.init.normal_(detector.radius_field.weight, std=0.1)
    patches = _patches(detector)
    terms = _terms(detector, patches)
    normal = patches.projected.flatten(0, 1)
    distance = (normal - detector.centre_of(normal)).norm(dim=1)
    field = F.softplus(detector.radius_field(patches.all)).squeeze(2) + 1e-3
    radius = field.gather(1, patches.chosen).flatten()
    torch.testing.assert_close(terms["compactness"], (distance - 0.8 * radius).clamp_min(0).mean())
    # Eq. 3 puts what is nudged at t = 1.5 r, whatever the gradient was.
    torch.testing.assert_close(terms["contrast"], (0.2 * radius + distance - 1.5 * radius).clamp_min(0).mean())
    grid = field.reshape(2, *detector.grid_hw)
    variation = grid.diff(dim=1).abs().mean() + grid.diff(dim=2).abs().mean()
    torch.testing.assert_close(terms["radius"], 0.1 * (2 * (field.mean() - distance.mean()).abs() + 3 * variation))


def test_the_nudge_climbs_the_detection_loss() -> None:
    detector = _detector(step=0.5)
    patches = _patches(detector)
    normal = patches.projected.flatten(0, 1)
    gradient = detector.head.gradient(normal)
    detector.head.norm.eval()
    with torch.no_grad():
        before = detector.head.discriminate(normal)
        after = detector.head.discriminate(normal + 1e-2 * F.normalize(gradient, dim=1))
    assert (after > before).all()


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, set()),
        ({"nudge_weight": 0}, {"nudged"}),
        ({"shuffle_weight": 0}, {"shuffled"}),
        ({"compactness_weight": 0}, {"compactness"}),
        ({"contrast_weight": 0}, {"contrast"}),
        ({"radius_weight": 0}, {"radius"}),
        ({"adaptive": False}, {"radius"}),
        ({"step": 0, "candidates": 1}, set()),
    ],
)
def test_every_part_can_be_left_out(values: dict[str, Any], missing: set[str]) -> None:
    detector = _detector(**values)
    terms = _terms(detector, _patches(detector))
    assert set(terms) == {"normal", "nudged", "shuffled", "compactness", "contrast", "radius"} - missing
    assert all(torch.isfinite(term) for term in terms.values())


def test_the_radius_begins_as_the_mean_distance_to_the_centres(images: Tensor) -> None:
    detector = _detector(standardise="whiten")
    features = detector.patch_features(images)
    detector.fit_features(features, features)
    detector.start_stage(detector.stages()[-1])
    with torch.no_grad():
        standardised = detector.head.standardisation(features)
        radii = detector._radii(standardised)
        distances = (standardised.flatten(0, 1) - detector.centre_of(standardised.flatten(0, 1))).norm(dim=1)
    torch.testing.assert_close(radii, (distances.mean() + 1e-3).expand_as(radii))


@pytest.mark.parametrize("adaptive", [True, False])
def test_training_lowers_the_loss_and_shapes_the_field(images: Tensor, adaptive: bool) -> None:
    detector = _detector(adaptive=adaptive, learning_rate=0.003)
    frozen = fit(detector, images)
    history = train(detector, TrainingBatch(torch.empty(4, 0), frozen), detector.stages()[-1], steps=40)
    assert sum(history[-1].values()) < sum(history[0].values())
    assert bool(detector.radius_field.weight.any()) == adaptive  # it begins at zero
