"""The flow of MSFlow: invertible, with the Jacobian that autograd finds, and the numbers of the authors' code."""

import math

import pytest
import torch
from torch import Tensor

from edge_ad.models.msflow.deployed import FoldedFlow
from edge_ad.models.msflow.flows import MultiScaleFlow, negative_log_likelihood

CHANNELS, GRIDS = (4, 6, 8), ((8, 12), (4, 6), (2, 3))

# Of the authors' networks with the weights, permutations and levels of this file: mean and mean square of z of each
# scale and three of its values, log-determinant of both images, loss.
RECORDED = (
    (0.115102, 0.563013, (0.536075, 0.510604, -0.812625)),
    (-0.152563, 5.787555, (-1.833798, 1.549143, 1.10269)),
    (0.023373, 1.213527, (2.251961, 0.081403, -1.444575)),
)
LOG_DETERMINANTS, LOSS = (-141.968137, -143.294838), 696.55865


def waves(shape: tuple[int, ...], seed: int) -> Tensor:
    """Values in [-1, 1] that follow from the seed by a formula: they can be made beside the authors' code too."""
    values = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(1.7 * values + 0.3 * seed + 0.1 * torch.cos(values * (seed + 1))).reshape(shape)


def moved_flow() -> MultiScaleFlow:
    """In float64, with weights that no initialisation gives it and permutations by rotation."""
    flow = MultiScaleFlow(CHANNELS, GRIDS, blocks=(1, 2, 3), condition=4).double()
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(flow.named_parameters()):
            start = 1.0 if "norm.weight" in name else 9.0 if name.endswith("scale") else 0.0
            parameter.copy_(start + 0.3 * waves(tuple(parameter.shape), seed))
    for name, buffer in flow.named_buffers():
        if "order" in name:
            buffer.copy_(torch.arange(len(buffer)).roll(1).flip(0))
    return flow.requires_grad_(False)


@pytest.fixture
def flow() -> MultiScaleFlow:
    return moved_flow()


@pytest.fixture
def levels() -> list[Tensor]:
    return [
        waves((2, each, *grid), 100 + index) for index, (each, grid) in enumerate(zip(CHANNELS, GRIDS, strict=True))
    ]


def test_what_the_flow_maps_is_mapped_back(flow: MultiScaleFlow, levels: list[Tensor]) -> None:
    for found, level, z in zip(flow.inverse(flow(levels).scales), levels, flow(levels).scales, strict=True):
        torch.testing.assert_close(found, level, rtol=0, atol=1e-12)
        assert (z - level).abs().max() > 0.5


def test_the_log_determinant_is_that_of_the_jacobian_which_autograd_finds(
    flow: MultiScaleFlow, levels: list[Tensor]
) -> None:
    sizes = [level[0].numel() for level in levels]

    def mapped(flat: Tensor) -> Tensor:
        parts = zip(flat.split(sizes), levels, strict=True)
        return torch.cat([z.flatten() for z in flow([part.reshape(1, *x.shape[1:]) for part, x in parts]).scales])

    at = torch.cat([level[0].flatten() for level in levels])
    jacobian = torch.autograd.functional.jacobian(mapped, at)
    assert isinstance(jacobian, Tensor)
    assert float(flow(levels).log_determinant[0]) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-8)


def test_the_loss_is_that_of_a_standard_normal(flow: MultiScaleFlow, levels: list[Tensor]) -> None:
    latents = flow(levels)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1)
    logarithms = torch.stack([normal.log_prob(z).sum((1, 2, 3)) for z in latents.scales]).sum(0)
    constant = 0.5 * math.log(2 * math.pi) * sum(z[0].numel() for z in latents.scales)
    expected = -(logarithms + constant + latents.log_determinant).mean()
    torch.testing.assert_close(negative_log_likelihood(latents), expected)


def test_the_numbers_are_those_of_the_authors_code(flow: MultiScaleFlow, levels: list[Tensor]) -> None:
    latents = flow(levels)
    for z, (mean, square, first) in zip(latents.scales, RECORDED, strict=True):
        assert float(z.mean()) == pytest.approx(mean, abs=1e-4)
        assert float(z.square().mean()) == pytest.approx(square, rel=1e-4)
        assert z[0, :3, 1, 2].tolist() == pytest.approx(first, abs=1e-4)
    assert latents.log_determinant.tolist() == pytest.approx(LOG_DETERMINANTS, abs=1e-4)
    assert float(negative_log_likelihood(latents)) == pytest.approx(LOSS, abs=1e-3)


def test_the_deployed_form_gives_the_same_z(flow: MultiScaleFlow, levels: list[Tensor]) -> None:
    for found, expected in zip(FoldedFlow(flow)(levels).scales, flow(levels).scales, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_the_position_counts(flow: MultiScaleFlow) -> None:
    flat = [torch.full((1, each, *grid), 0.3, dtype=torch.float64) for each, grid in zip(CHANNELS, GRIDS, strict=True)]
    for z in flow(flat).scales[:2]:
        inner = z[..., 1:-1, 1:-1]
        assert inner.std((2, 3)).max() > 1e-3
