"""A batch norm folded into its convolution."""

import pytest
import torch
from torch import Tensor, nn

from edge_ad.errors import CheckpointError
from edge_ad.models.backbones.base import load_folded


@pytest.fixture
def layers() -> nn.Sequential:
    """A convolution and a batch norm that has seen other data, float64, as published."""
    layers = nn.Sequential(nn.Conv2d(6, 8, 3, groups=2, bias=False), nn.BatchNorm2d(8, eps=1e-3)).double()
    for tensor in (layers[1].weight, layers[1].bias, layers[1].running_mean, layers[1].running_var):
        tensor.data = torch.rand(8, dtype=torch.float64) + 0.1
    return layers.eval().requires_grad_(False)


def _folded(weights: dict[str, Tensor]) -> nn.Conv2d:
    conv = nn.Conv2d(6, 8, 3, groups=2).double().requires_grad_(False)
    load_folded(conv, weights, "0", "1", epsilon=1e-3)
    return conv


def test_it_gives_the_numbers_of_both_layers(layers: nn.Sequential) -> None:
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(_folded(layers.state_dict())(x), layers(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("1.running_var", None, "1.running_var is missing"),
        ("0.weight", torch.zeros(8, 6, 3, 3), r"0.weight has the shape \(8, 6, 3, 3\), not \(8, 3, 3, 3\)"),
        ("1.bias", torch.zeros(7), r"1.bias has the shape \(7,\)"),
        ("1.weight", torch.full((8,), torch.nan), "not finite"),
        ("1.running_var", torch.full((8,), -1.0), "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(layers: nn.Sequential, name: str, value: Tensor | None, said: str) -> None:
    weights = {key: tensor for key, tensor in layers.state_dict().items() if key != name}
    if value is not None:
        weights[name] = value
    with pytest.raises(CheckpointError, match=said) as caught:
        _folded(weights)
    assert "\n" not in str(caught.value)
