"""The folded head against the layers it is folded from."""

import pytest
import torch
from torch import Tensor

from edge_ad.models.discriminators.head import PatchHead
from edge_ad.models.discriminators.standardisation import Standardisation, StandardisationKind

CHANNELS = 6


def _head(kind: StandardisationKind, features: Tensor, *, distance: bool = False) -> PatchHead:
    standardisation = Standardisation(CHANNELS, (4, 4), kind, rank=2).double()
    standardisation.fit(features)
    return PatchHead(standardisation, CHANNELS, 16, distance=distance).double()


@pytest.fixture
def features() -> Tensor:
    return torch.randn(5, CHANNELS, 4, 4, dtype=torch.float64) * 3 + 1


@pytest.mark.parametrize("distance", [False, True])
@pytest.mark.parametrize("kind", ["none", "channel", "whiten", "position", "local"])
def test_the_fold_equals_the_layers_after_training(features: Tensor, kind: StandardisationKind, distance: bool) -> None:
    head = _head(kind, features, distance=distance)
    head.start(0)
    torch.nn.init.normal_(head.projection.weight)
    head.train()
    optimiser = torch.optim.Adam([weight for part in head.learned() for weight in part], lr=0.05)
    for _ in range(5):  # so that batch norm has statistics and a scale of its own
        loss = head.discriminate(head.project(head.standardisation(features).flatten(0, 1))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    head.eval()
    with torch.no_grad():
        vectors = head.standardisation(features).flatten(0, 1)
        layers = head.discriminate(head.project(vectors)).reshape(5, 1, 4, 4)
        torch.testing.assert_close(head(features), layers, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("distance", [False, True])
def test_the_gradient_is_autograds_by_running_statistics_and_changes_nothing(features: Tensor, distance: bool) -> None:
    head = _head("whiten", features, distance=distance)
    head.start(0)
    torch.nn.init.normal_(head.out.weight)
    head.train()
    vectors = head.standardisation(features).flatten(0, 1)
    head.discriminate(vectors)  # statistics of its own
    before = {name: value.clone() for name, value in head.state_dict().items()}
    found = head.gradient(vectors)
    assert head.norm.training
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    head.norm.eval()
    (expected,) = torch.autograd.grad(head.discriminate(probe := vectors.clone().requires_grad_()).sum(), probe)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("kind", ["position", "local"])
def test_starting_from_the_distance_it_ranks_as_the_gaussian_does(features: Tensor, kind: StandardisationKind) -> None:
    head = _head(kind, features, distance=True)
    lengths = head.standardisation(features).norm(dim=2)
    head.start(0, mean_length=float(lengths.mean()))
    head.eval()
    expected = 3 * lengths / lengths.mean() - 3
    torch.testing.assert_close(head(features).flatten(1), expected, atol=1e-9, rtol=1e-9)


def test_the_seed_draws_the_weights_and_leaves_the_global_generator_alone(features: Tensor) -> None:
    head, states = _head("none", features), []
    before = torch.random.get_rng_state()
    for seed in (3, 3, 4):
        head.start(seed)
        states.append(head.hidden.weight.detach().clone())
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_new_start_forgets_what_batch_norm_saw(features: Tensor) -> None:
    head = _head("none", features)
    head.start(0)
    head.eval()
    first = head(features)
    head.train()
    head.discriminate(head.project(features.permute(0, 2, 3, 1).reshape(-1, CHANNELS)))
    head.start(0)
    head.eval()
    assert torch.equal(head(features), first)
