"""Patch errors, the ranking loss and the predictors."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.models.error_predictors import MlpPredictor, VitPredictor, patch_errors, ranking_loss


def test_patch_errors_are_mean_squares_per_patch() -> None:
    image, reconstruction = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    reconstruction[0, :, :2, :2] = 0.5  # every value of one patch
    reconstruction[0, 1, 2, 3] = 0.6  # one of the twelve values of another
    expected = torch.tensor([[0.25, 0.0], [0.0, 0.36 / 12]])[None, None]
    torch.testing.assert_close(patch_errors(image, reconstruction, 2), expected)


def _pairing(partners: list[int]) -> torch.Generator:
    """A generator that draws these partners."""
    for seed in range(999):
        if torch.randperm(len(partners), generator=torch.Generator().manual_seed(seed)).tolist() == partners:
            return torch.Generator().manual_seed(seed)
    raise AssertionError("no seed draws them")


def _swap() -> torch.Generator:
    return _pairing([1, 0])


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        ([0.0, 2.0], [0.1, 0.3], 0.0),  # right order, farther apart than the margin
        ([0.0, 0.4], [0.1, 0.3], 0.6),  # right order, but within the margin
        ([2.0, 0.0], [0.1, 0.3], 3.0),  # wrong order: margin plus difference, both ways
        ([0.5, 0.5], [0.1, 0.3], 1.0),  # undecided: the margin
        ([0.0, 2.0], [0.2, 0.2], 1.5),  # a tie counts as "not greater" both ways: max(0, 1 - 2) and 1 + 2
    ],
)
def test_ranking_loss_of_one_pair(predicted: list[float], target: list[float], expected: float) -> None:
    shape = (1, 1, 1, 2)
    loss = ranking_loss(torch.tensor(predicted).reshape(shape), torch.tensor(target).reshape(shape), _swap())
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("predicted", "expected"), [([0.0, 2.0, 9.0], 0.0), ([2.0, 0.0, 9.0], 1.0)])
def test_a_tie_counts_as_the_first_being_lower(predicted: list[float], expected: float) -> None:
    target = torch.tensor([0.1, 0.1, 0.5]).reshape(1, 1, 1, 3)
    loss = ranking_loss(torch.tensor(predicted).reshape(1, 1, 1, 3), target, _pairing([1, 2, 0]))
    assert loss.item() == pytest.approx(expected)  # the other two pairs are in order, far apart


def test_the_margin_is_a_parameter() -> None:
    predicted, target = torch.tensor([0.0, 0.4]).reshape(1, 1, 1, 2), torch.tensor([0.1, 0.3]).reshape(1, 1, 1, 2)
    assert ranking_loss(predicted, target, _swap(), margin=0.25).item() == 0
    assert ranking_loss(predicted, target, _swap(), margin=2.0).item() == pytest.approx(1.6)


def test_ranking_loss_ignores_a_shift_of_all_predictions() -> None:
    predicted, target = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    losses = [ranking_loss(predicted + shift, target, torch.Generator().manual_seed(5)) for shift in (0.0, 7.0)]
    torch.testing.assert_close(losses[0], losses[1])


def test_following_the_ranking_loss_restores_the_order() -> None:
    target = torch.rand(1, 1, 4, 4)
    predicted = torch.zeros(1, 1, 4, 4, requires_grad=True)
    optimiser, generator = torch.optim.Adam([predicted], 0.05), torch.Generator().manual_seed(0)
    for _ in range(500):
        optimiser.zero_grad()
        torch.autograd.backward(ranking_loss(predicted, target, generator))
        optimiser.step()
    assert torch.equal(predicted.flatten().argsort(), target.flatten().argsort())


def test_the_mlp_is_two_linear_layers_on_flattened_patches(images: Tensor) -> None:
    predictor = MlpPredictor(16, hidden=8)
    patches = F.unfold(images, 16, stride=16).transpose(1, 2)  # (N, 16 patches, 3·16·16)
    hidden = F.relu(F.linear(patches, predictor.first.weight.flatten(1), predictor.first.bias))
    expected = F.linear(hidden, predictor.second.weight.flatten(1), predictor.second.bias)
    torch.testing.assert_close(predictor(images), expected.transpose(1, 2).reshape(4, 1, 4, 4))


def _exchange_corners(images: Tensor, patch: int) -> Tensor:
    out = images.clone()
    out[..., :patch, :patch] = images[..., -patch:, -patch:]
    out[..., -patch:, -patch:] = images[..., :patch, :patch]
    return out


def test_the_mlp_sees_each_patch_alone(images: Tensor) -> None:
    predictor = MlpPredictor(16, hidden=8)
    changed = images.clone()
    changed[..., :16, :16] = 0
    difference = (predictor(changed) - predictor(images)).abs()
    assert difference[..., 0, 0].min() > 0
    assert difference.flatten(2)[..., 1:].max() < 1e-6


def test_the_vit_predicts_one_error_per_patch_from_all_patches(images: Tensor) -> None:
    predictor = VitPredictor(16, (4, 4), hidden=8)
    changed = images.clone()
    changed[..., :16, :16] = 0
    assert predictor(images).shape == (4, 1, 4, 4)
    assert ((predictor(changed) - predictor(images)).abs() > 0).float().mean() > 0.9


def test_the_vit_knows_positions_only_by_their_embedding(images: Tensor) -> None:
    predictor = VitPredictor(16, (4, 4), hidden=8)
    assert predictor.position.abs().max() == 0
    exchanged = _exchange_corners(images, 16)
    expected = _exchange_corners(predictor(images), 1)
    torch.testing.assert_close(predictor(exchanged), expected, atol=1e-5, rtol=1e-4)
    torch.nn.init.normal_(predictor.position)
    assert (predictor(exchanged) - _exchange_corners(predictor(images), 1)).abs().max() > 1e-3


def test_a_width_that_no_head_divides_is_refused() -> None:
    with pytest.raises(UsageError, match="4 heads"):
        VitPredictor(16, (4, 4), hidden=6)
