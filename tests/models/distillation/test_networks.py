"""Bottleneck and student: shapes, the transposed convolution in its other form, and folded batch norms."""

import copy

import pytest
import torch
from torch import Tensor, nn

from edge_ad.models.distillation.networks import Bottleneck, ConvNorm, ResidualBlock, Student, fold_norms

CHANNELS = (6, 10, 14)


def _levels(side: int = 16) -> list[Tensor]:
    return [torch.randn(2, count, side >> index, side >> index) for index, count in enumerate(CHANNELS)]


def _used(network: nn.Module, *inputs: object) -> nn.Module:
    """With gains, shifts and statistics that are not those of the start, in evaluation mode."""
    for module in network.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for _ in range(3):
        network(*inputs)
    return network.eval()


def test_the_student_gives_back_levels_of_the_teachers_shapes() -> None:
    bottleneck = Bottleneck(CHANNELS, 2)
    code = bottleneck(_levels())
    assert code.shape == (2, 28, 2, 2)
    levels = Student(28, CHANNELS, (1, 2, 3), activated=False)(code)
    assert [level.shape for level in levels] == [level.shape for level in _levels()]


@pytest.mark.parametrize("activated", [True, False])
def test_levels_are_signed_where_the_teachers_are(activated: bool) -> None:
    levels = Student(28, CHANNELS, (2, 1, 1), activated=activated)(torch.randn(2, 28, 2, 2))
    assert all((level.min() >= 0) == activated for level in levels)


def test_doubling_the_grid_is_the_transposed_convolution_of_stride_two() -> None:
    doubling = ConvNorm(5, 3, 1, up=True, activation=False).eval()
    transposed = nn.ConvTranspose2d(5, 3, 2, 2, bias=False)
    with torch.no_grad():
        doubling.conv.weight.copy_(transposed.weight.permute(1, 2, 3, 0).reshape(12, 5, 1, 1))
    x = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(doubling(x), transposed(x) / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"up": True}, {"activation": False}])
def test_folded_blocks_give_the_same(options: dict[str, int]) -> None:
    x = torch.randn(4, 8, 6, 6)
    block = _used(ResidualBlock(8, 8, **options), x)
    folded = copy.deepcopy(block)
    fold_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(x), block(x), rtol=1e-5, atol=1e-5)
