"""Every loss term against numbers worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from edge_ad.models.discriminators.losses import (
    boundary_contrast,
    compactness,
    cross_entropy,
    radius_regularisation,
    truncated_l1,
)


def test_truncated_l1_counts_only_what_is_on_the_wrong_side_of_the_margin() -> None:
    normal, anomalous = truncated_l1(torch.tensor([-2.0, -0.5, 0.0, 1.0]), torch.tensor([0.1, 3.0]), 0.5)
    assert normal.item() == pytest.approx((0 + 0 + 0.5 + 1.5) / 4)
    assert anomalous.item() == pytest.approx(0.4 / 2)


def test_cross_entropy_is_that_of_the_sigmoid() -> None:
    logits = torch.tensor([0.0, math.log(3)])  # probabilities 1/2 and 3/4
    assert cross_entropy(logits, anomalous=True).item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    assert cross_entropy(logits, anomalous=False).item() == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2)


def test_cross_entropy_of_a_certain_mistake_stays_finite() -> None:
    assert cross_entropy(torch.tensor([-200.0]), anomalous=True).item() == pytest.approx(200)


def test_compactness_is_what_lies_beyond_the_tightened_radius() -> None:
    distance, radius = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 2.0, 1.0])
    assert compactness(distance, radius, 0.5).item() == pytest.approx((0 + 1 + 3.5) / 3)


def test_boundary_contrast_asks_for_a_gap_of_a_share_of_the_radius() -> None:
    normal, nudged, radius = torch.tensor([1.0, 2.0]), torch.tensor([1.2, 5.0]), torch.tensor([2.0, 2.0])
    assert boundary_contrast(normal, nudged, radius, 0.5).item() == pytest.approx((1 + 1 - 1.2 + 0) / 2)


def test_radius_regularisation_weighs_the_mean_and_the_steps_between_neighbours() -> None:
    radii = torch.tensor([[[1.0, 2.0], [4.0, 4.0]]])  # mean 2.75; steps down 3 and 2, right 1 and 0
    value = radius_regularisation(radii, 2.0, mean_weight=2.0, variation_weight=3.0)
    assert value.item() == pytest.approx(2 * 0.75 + 3 * (2.5 + 0.5))


def test_a_field_of_one_position_has_no_variation() -> None:
    value = radius_regularisation(torch.full((2, 1, 1), 1.5), 1.5, mean_weight=1.0, variation_weight=1.0)
    assert value.item() == 0


@pytest.mark.parametrize("loss", ["normal", "anomalous"])
def test_gradients_push_logits_apart(loss: str) -> None:
    logits = torch.zeros(1, requires_grad=True)
    term: Tensor = cross_entropy(logits, anomalous=loss == "anomalous")
    term.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad < 0).item() == (loss == "anomalous")
