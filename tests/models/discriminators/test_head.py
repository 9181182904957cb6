"""The folded head against the layers it is folded from."""

import pytest
import torch
from torch import Tensor

from edge_ad.models.discriminators.head import PatchHead
from edge_ad.models.discriminators.standardisation import Standardisation, StandardisationKind

CHANNELS = 6


def _head(kind: StandardisationKind, features: Tensor) -> PatchHead:
    standardisation = Standardisation(CHANNELS, (4, 4), kind).double()
    standardisation.fit(features)
    return PatchHead(standardisation, CHANNELS, 16).double()


@pytest.fixture
def features() -> Tensor:
    return torch.randn(5, CHANNELS, 4, 4, dtype=torch.float64) * 3 + 1


@pytest.mark.parametrize("kind", ["none", "channel", "whiten", "position"])
def test_the_fold_equals_the_layers_after_training(features: Tensor, kind: StandardisationKind) -> None:
    head = _head(kind, features)
    head.start(0, identity=False)
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


def test_the_seed_draws_the_weights_and_leaves_the_global_generator_alone(features: Tensor) -> None:
    head, states = _head("none", features), []
    before = torch.random.get_rng_state()
    for seed in (3, 3, 4):
        head.start(seed, identity=True)
        states.append(head.hidden.weight.detach().clone())
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_new_start_forgets_what_batch_norm_saw(features: Tensor) -> None:
    head = _head("none", features)
    head.start(0, identity=True)
    head.eval()
    first = head(features)
    head.train()
    head.discriminate(head.project(features.permute(0, 2, 3, 1).reshape(-1, CHANNELS)))
    head.start(0, identity=True)
    head.eval()
    assert torch.equal(head(features), first)
