"""AMI-Net's adaptive mask against its rule, written down token by token, and what its training does."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.mask_sources import AdaptiveMask
from edge_ad.models.mask_sources.adaptive import relative_to_cluster
from edge_ad.models.mask_sources.token_clusters import (
    TokenClusters,
    clustering_loss,
    distance_to_centres,
    sine_cosine_positions,
)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(3, 10, 8, 12, generator=torch.Generator().manual_seed(0))


def _source(**values: int) -> AdaptiveMask:
    return AdaptiveMask(10, (8, 12), **{"width": 64, "clusters": 4, "steps": 3, **values})


def _masked_of(distances: Tensor, deviations: float) -> list[bool]:
    """The rule for one photo: distances (T, M) → whether each token is masked."""
    nearest, cluster = distances.min(1)
    masked = [False] * len(nearest)
    for centre in range(distances.shape[1]):
        members = [token for token in range(len(nearest)) if int(cluster[token]) == centre]
        if len(members) > 1:
            own = nearest[members]
            limit = own.mean() + deviations * own.std()
            for token in members:
                masked[token] = bool(nearest[token] >= limit)
    return masked


@pytest.mark.parametrize("deviations", [0.5, 1.5])
def test_a_token_far_out_in_its_cluster_is_masked(deviations: float, features: Tensor) -> None:
    source = AdaptiveMask(10, (8, 12), width=64, clusters=4, deviations=deviations, steps=1)
    mask = source.binary(source(features, features))
    distances = distance_to_centres(*source.token_clusters(features))
    expected = torch.tensor([_masked_of(photo, deviations) for photo in distances]).reshape(3, 1, 4, 6)
    assert torch.equal(mask.bool(), expected.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert 0 < mask.mean() < 0.5


def test_a_token_that_has_a_centre_for_itself_is_kept() -> None:
    distances = torch.tensor([[[9.0, 10.0], [7.0, 1.0], [7.0, 2.0], [7.0, 6.0]]])
    suspicion = relative_to_cluster(distances, 0.5)
    limit = 3 + 0.5 * math.sqrt(7)  # of the other three: mean 3, variance (4 + 1 + 9) / 2
    assert suspicion[0].tolist() == pytest.approx([0, 1 / limit, 2 / limit, 6 / limit])


def test_distance_is_length_times_one_minus_cosine(features: Tensor) -> None:
    tokens, centres = torch.randn(2, 5, 7), torch.randn(2, 3, 7)
    lengths = torch.cdist(tokens, centres)
    cosines = F.cosine_similarity(tokens[:, :, None], centres[:, None], dim=3)
    torch.testing.assert_close(distance_to_centres(tokens, centres), lengths * (1 - cosines))


def test_centres_are_those_of_a_transformer_block_before_the_tokens(features: Tensor) -> None:
    network = TokenClusters(10, (8, 12), patch=2, width=64, clusters=4).eval()
    tokens, centres = network(features)
    block = torch.nn.TransformerEncoderLayer(64, 1, 256, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    block.self_attn.in_proj_weight, block.self_attn.in_proj_bias = network.qkv.weight, network.qkv.bias
    block.self_attn.out_proj, block.norm1, block.norm2 = network.out, network.norm_attention, network.norm_mlp
    block.linear1, block.linear2 = network.mlp[0], network.mlp[2]
    every = torch.cat([network.cluster_tokens.expand(3, -1, -1), tokens], 1)
    torch.testing.assert_close(centres, network.norm(block(every))[:, :4], atol=1e-5, rtol=1e-5)
    embedded = network.embed(features).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens, embedded + sine_cosine_positions(4, 6, 64))


def test_training_draws_tokens_to_their_centres_and_centres_apart(features: Tensor) -> None:
    source, same = _source(), _source(steps=200)
    before = float(clustering_loss(*source.token_clusters(features)))
    same.fit(features, features[:0])
    assert float(clustering_loss(*same.token_clusters(features))) < before - 1
    first = {name: tensor.clone() for name, tensor in same.state_dict().items()}
    same.fit(features, features[:0])
    assert all(torch.equal(tensor, first[name]) for name, tensor in same.state_dict().items())  # begun anew
    assert not any(parameter.requires_grad for parameter in same.parameters())


def test_a_fitted_photo_is_masked_as_a_new_one_is(features: Tensor) -> None:
    source = _source()
    torch.testing.assert_close(source.cross_fitted(features, features), source(features, features))
