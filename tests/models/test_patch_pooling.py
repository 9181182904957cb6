"""Patch pooling against the papers' own words: unfold, flatten, adaptive average pool."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.errors import UsageError
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models import create_detector, parse_parameters
from edge_ad.models.feature_detector import PatchFeatures, pool_patches, pooling_kernel

EXACT = {"atol": 1e-12, "rtol": 0.0}


def _unfolded(level: Tensor, neighbourhood: int) -> Tensor:
    """(N, C, h, w) → the patch of each position, (N, C·k·k, h, w), channel by channel."""
    patches = F.unfold(level, neighbourhood, padding=neighbourhood // 2)
    return patches.unflatten(2, tuple(level.shape[2:]))


def _pooled(patches: Tensor, width: int) -> Tensor:
    """(N, C·k·k, h, w) → (N, width, h, w)."""
    vectors = patches.permute(0, 2, 3, 1)
    return (
        F.adaptive_avg_pool1d(vectors.flatten(0, 2)[:, None], width)[:, 0].unflatten(0, vectors.shape[:3]).movedim(3, 1)
    )


@pytest.mark.parametrize("neighbourhood", [1, 3, 5])
@pytest.mark.parametrize(
    ("channels", "width"), [(512, 768), (1024, 768), (40, 768), (112, 768), (40, 40), (24, 7), (112, 100), (5, 64)]
)
def test_the_convolution_is_the_pooling_of_unfolded_patches(channels: int, width: int, neighbourhood: int) -> None:
    level = torch.randn(2, channels, 5, 6, dtype=torch.float64)
    found = pool_patches(level, pooling_kernel(channels, width, neighbourhood))
    torch.testing.assert_close(found, _pooled(_unfolded(level, neighbourhood), width), **EXACT)


@pytest.mark.parametrize(("channels", "groups"), [(512, 256), (1024, 256), (40, 8), (112, 16), (768, 768), (5, 1)])
def test_it_has_as_many_groups_as_a_convolution_can_have(channels: int, groups: int) -> None:
    kernel = pooling_kernel(channels, 768, 3)
    assert kernel.shape == (768, channels // groups, 3, 3)
    assert groups == math.gcd(channels, 768)
    torch.testing.assert_close(kernel.sum((1, 2, 3)), torch.ones(768, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(("embedding", "neighbourhood"), [(96, 3), (50, 5), (0, 3)])
def test_patch_features_are_those_of_the_papers_which_upsample_before_they_pool(
    embedding: int, neighbourhood: int, images: Tensor
) -> None:
    features = PatchFeatures((8, 16), neighbourhood=neighbourhood, weights="random", embedding=embedding).double()
    fine, coarse = features.network(images.double())
    for stride, level in ((8, fine), (16, coarse)):
        own = level.shape[1]
        features.get_buffer(f"average_{stride}").copy_(pooling_kernel(own, embedding or own, neighbourhood))
    patches = [_unfolded(level, neighbourhood) for level in (fine, coarse)]
    patches[1] = F.interpolate(patches[1], fine.shape[2:], mode="bilinear", align_corners=False)
    expected = [_pooled(part, embedding or level.shape[1]) for part, level in zip(patches, (fine, coarse), strict=True)]
    assert features.channels == sum(part.shape[1] for part in expected)
    torch.testing.assert_close(features(images.double()), torch.cat(expected, 1), **EXACT)


def test_the_exported_graph_pools_by_convolutions_alone(images: Tensor) -> None:
    detector = create_detector("patch-gaussian", {"size": 64, "rank": 2, "embedding": 96, "weights": "random"})
    assert detector.backbone is not None
    features = detector.backbone(images)
    detector.fit_features(features[:3], features[3:])
    graph = export_onnx(detector).graph
    assert not {node.op_type for node in graph.node} & {"Unfold", "Im2Col", "Gather", "AveragePool", "Loop"}
    kernels = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    own = [node for node in graph.node if node.name.startswith("patch_features/")]
    assert [node.op_type for node in own] == ["Conv", "Conv", "Resize", "Concat"]
    assert [kernels[node.input[1]] for node in own if node.op_type == "Conv"] == [(96, 5, 3, 3), (96, 7, 3, 3)]


@pytest.mark.parametrize("embedding", [-1, 5000])
def test_an_embedding_out_of_range_is_refused(embedding: int) -> None:
    with pytest.raises(UsageError, match="embedding"):
        parse_parameters("pbas", {"embedding": embedding})
