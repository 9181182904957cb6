"""The frozen backbone: padding, folded batch norms, shapes; and the patch features made of it."""

import hashlib
import importlib
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.models.backbones import BACKBONES, create_backbone
from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
from edge_ad.models.feature_detector import PatchFeatures


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return EfficientNetLite0.imagenet_weights()


@pytest.fixture(scope="module")
def network(weights: dict[str, Tensor]) -> EfficientNetLite0:
    network = EfficientNetLite0((4, 8, 16))
    network.load_published(weights)
    return network


def _stem_of_ones() -> torch.nn.Module:
    stem = EfficientNetLite0((4,)).stem
    stem.weight.fill_(1.0)
    assert stem.bias is not None
    stem.bias.zero_()
    return stem


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (4, [[9.0, 6.0], [6.0, 4.0]]),  # even: the odd pixel of padding lies at the bottom right
        (5, [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]),  # odd: one pixel on every side
    ],
)
def test_strided_convolutions_pad_as_tensorflow_does(size: int, expected: list[list[float]]) -> None:
    ones = torch.zeros(1, 3, size, size)
    ones[:, 0] = 1.0
    assert _stem_of_ones()(ones)[0, 0].tolist() == expected


def test_height_and_width_are_padded_on_their_own() -> None:
    ones = torch.zeros(1, 3, 4, 5)
    ones[:, 0] = 1.0
    assert _stem_of_ones()(ones)[0, 0].tolist() == [[6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]


def _unfolded(x: Tensor, weights: dict[str, Tensor], conv: str, norm: str, *, groups: int = 1) -> Tensor:
    x = F.conv2d(x, weights[f"{conv}.weight"], stride=1, groups=groups)
    running = (weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"])
    return F.batch_norm(x, *running, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=1e-3)


def test_the_folded_stem_equals_convolution_and_batch_norm(
    network: EfficientNetLite0, weights: dict[str, Tensor]
) -> None:
    x = torch.randn(1, 3, 16, 16)
    expected = _unfolded(F.pad(x, (0, 1, 0, 1)), weights, "_conv_stem", "_bn0")[..., ::2, ::2]
    torch.testing.assert_close(network.stem(x), expected, atol=1e-4, rtol=1e-4)


def test_a_folded_block_equals_its_convolutions_and_batch_norms(
    network: EfficientNetLite0, weights: dict[str, Tensor]
) -> None:
    x, name = torch.randn(1, 24, 8, 8), "_blocks.2."  # expanded, stride 1, with a shortcut
    hidden = F.relu6(_unfolded(x, weights, f"{name}_expand_conv", f"{name}_bn0"))
    hidden = F.pad(hidden, (1, 1, 1, 1))
    hidden = F.relu6(_unfolded(hidden, weights, f"{name}_depthwise_conv", f"{name}_bn1", groups=144))
    expected = x + _unfolded(hidden, weights, f"{name}_project_conv", f"{name}_bn2")
    torch.testing.assert_close(network.get_submodule("stages.1.1")(x), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("efficientnet-lite0", [24, 40, 112, 320]),
        ("efficientnet-lite1", [24, 40, 112, 320]),
        ("efficientnet-lite2", [24, 48, 120, 352]),
    ],
)
def test_the_published_weights_fill_every_level_of_each_variant(name: str, channels: list[int], images: Tensor) -> None:
    network = create_backbone(name, (4, 8, 16, 32))  # type: ignore[arg-type]
    assert list(BACKBONES[name].level_channels.values()) == channels  # type: ignore[index]
    for level, stride, width in zip(network(images), (4, 8, 16, 32), channels, strict=True):
        assert level.shape[1:] == (width, 64 // stride, 64 // stride)
        assert 0.05 < level.std() < 100  # a block that took another's weights would make it explode or vanish


@pytest.mark.parametrize("kind", [EfficientNetLite0, EfficientNetLite1, EfficientNetLite2])
def test_the_file_of_weights_is_the_one_that_its_name_tells(kind: type[EfficientNetLite0]) -> None:
    package = importlib.import_module(kind.weights_package)
    path = Path(getattr(package, kind.weights_class).get_model_file_path())
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.rpartition("-")[2])


def test_levels_that_are_not_asked_for_are_not_computed(network: EfficientNetLite0, images: Tensor) -> None:
    shallow = EfficientNetLite0((4,))
    shallow.load_state_dict({k: v for k, v in network.state_dict().items() if k in shallow.state_dict()})
    assert len(shallow.stages) < len(network.stages)
    torch.testing.assert_close(shallow(images)[0], network(images)[0])


def test_the_backbone_is_frozen_and_has_no_batch_statistics(network: EfficientNetLite0, images: Tensor) -> None:
    assert not any(parameter.requires_grad for parameter in network.parameters())
    evaluated = network.eval()(images)[1]
    assert torch.equal(network.train()(images)[1], evaluated)
    network.eval()


def test_patch_features_average_three_by_three_and_meet_on_the_finest_grid(
    network: EfficientNetLite0, images: Tensor
) -> None:
    features = PatchFeatures((8, 16))
    _, fine, coarse = network(images)
    fine, coarse = (F.avg_pool2d(level, 3, 1, 1, count_include_pad=True) for level in (fine, coarse))
    coarse = F.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(features(images), torch.cat([fine, coarse], 1), atol=1e-4, rtol=1e-4)
    assert (features.channels, features.stride) == (152, 8)
