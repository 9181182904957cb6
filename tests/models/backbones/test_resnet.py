"""The ResNets against transformers' for the same weights; torchvision's own are held in tests/torchvision."""

import urllib.error
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from edge_ad.cli.failures import report_failure
from edge_ad.errors import CheckpointError
from edge_ad.models import create_detector, restore_detector
from edge_ad.models.backbones import BACKBONES, BackboneName, create_backbone
from edge_ad.models.backbones.resnet import ResNet18, ResNet50, ResNet101, WideResNet50

RESNETS: dict[BackboneName, type] = {"resnet18": ResNet18, "resnet50": ResNet50, "resnet101": ResNet101}


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def _reference(name: BackboneName) -> nn.Module:
    """The network of transformers with random weights and batch norms that have seen something."""
    from transformers import ResNetConfig, ResNetModel

    kind = BACKBONES[name]
    config = ResNetConfig(
        hidden_sizes=list(kind.level_channels.values()),
        depths=list(RESNETS[name].repeats),
        layer_type="bottleneck" if RESNETS[name].is_deep else "basic",
    )
    torch.manual_seed(0)
    network: nn.Module = ResNetModel(config).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.4 + 0.2 * torch.rand_like(tensor)
    return network


def _in_torchvisions_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, tensor in state.items():
        *where, kind, value = name.split(".")
        is_norm = kind == "normalization"
        if where[0] == "embedder":
            own = "bn1" if is_norm else "conv1"
        else:
            stage, block = int(where[2]) + 1, where[4]
            last = (
                f"downsample.{int(is_norm)}"
                if where[5] == "shortcut"
                else f"{'bn' if is_norm else 'conv'}{int(where[6]) + 1}"
            )
            own = f"layer{stage}.{block}.{last}"
        named[f"{own}.{value}"] = tensor
    return named


@pytest.mark.parametrize("name", RESNETS)
def test_the_features_are_those_of_the_reference(name: BackboneName, images: Tensor) -> None:
    network = _reference(name)
    backbone = create_backbone(name, (4, 8, 16, 32), weights=None)
    backbone.load_published(_in_torchvisions_names(network.state_dict()))
    mean, std = backbone.get_buffer("mean"), backbone.get_buffer("std")
    expected = network((images - mean) / std, output_hidden_states=True).hidden_states[1:]
    for own, level in zip(backbone(images), expected, strict=True):
        assert level.std() > 1e-3
        torch.testing.assert_close(own, level, atol=1e-4 * float(level.abs().max()), rtol=1e-4)


def test_wide_resnet_50_has_its_published_number_of_weights() -> None:
    backbone = WideResNet50((4, 8, 16, 32))
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    norms = 2 * sum(conv.out_channels for conv in convolutions)  # gain and shift, where a bias is left here
    classifier = 2048 * 1000 + 1000
    assert sum(conv.weight.numel() for conv in convolutions) + norms + classifier == 68_883_240  # torchvision's page


@pytest.mark.parametrize(
    "failure", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value"), EOFError("cut short")]
)
def test_weights_that_cannot_be_fetched_are_one_line(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> NoReturn:
        raise failure

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    with pytest.raises(CheckpointError) as caught:
        create_backbone("wide-resnet50", (8, 16))
    assert report_failure(caught.value) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert "WideResNet50" in error
    assert "wide_resnet50_2-95faca4d.pth" in hint
    assert "weights=PATH" in hint


def test_random_weights_follow_from_the_seed_and_a_checkpoint_needs_none(images: Tensor) -> None:
    values = {"size": 64, "backbone": "resnet18", "weights": "random", "bank": 20}
    first, again = (create_detector("patch-nearest", {**values, "seed": 3}) for _ in range(2))
    other = create_detector("patch-nearest", {**values, "seed": 4})
    found = [detector.backbone(images) for detector in (first, again, other) if detector.backbone is not None]
    assert found[0].isfinite().all()
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    restored = restore_detector("patch-nearest", {**values, "weights": "/gone.pth", "seed": 3}, first.state_dict())
    assert restored.backbone is not None
    assert torch.equal(found[0], restored.backbone(images))


def test_it_is_frozen_and_no_deeper_than_it_must_be(images: Tensor) -> None:
    backbone = create_backbone("resnet50", (8, 16), weights="random")
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert {key.split(".")[0] for key in backbone.state_dict()} == {"conv1", "layer1", "layer2", "layer3"}
    assert all(torch.equal(a, b) for a, b in zip(backbone.train()(images), backbone.eval()(images), strict=True))
