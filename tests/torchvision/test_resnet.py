"""The ResNet backbones against torchvision's own networks."""

import urllib.error
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from edge_ad.cli.failures import report_failure
from edge_ad.errors import CheckpointError
from edge_ad.models import create_detector, restore_detector
from edge_ad.models.backbones import BACKBONES, BackboneName, create_backbone

ARCHITECTURES: dict[BackboneName, str] = {"resnet18": "resnet18", "wide-resnet50": "wide_resnet50_2"}
STAGES = {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def _published(name: BackboneName) -> nn.Module:
    """torchvision's network with random weights and with batch norms that have seen something."""
    import torchvision

    torch.manual_seed(0)
    network: nn.Module = getattr(torchvision.models, ARCHITECTURES[name])(weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data = 0.4 + 0.4 * torch.rand_like(tensor)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> BackboneName:
    chosen: BackboneName = request.param
    return chosen


@pytest.fixture(scope="module")
def published(name: BackboneName) -> nn.Module:
    return _published(name)


@pytest.fixture(scope="module")
def weights(published: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "published.pth"
    torch.save(published.state_dict(), path)
    return path


def _intermediate(network: nn.Module, images: Tensor, levels: tuple[int, ...]) -> list[Tensor]:
    found: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(STAGES[level]).register_forward_hook(
            lambda module, inputs, output, stage=STAGES[level]: found.__setitem__(stage, output)
        )
        for level in levels
    ]
    network((images - MEAN[:, None, None].to(images)) / STD[:, None, None].to(images))
    for hook in hooks:
        hook.remove()
    return [found[STAGES[level]] for level in levels]


def test_a_local_file_gives_torchvisions_own_features(
    name: BackboneName, published: nn.Module, weights: Path, images: Tensor
) -> None:
    levels = (4, 8, 16, 32)
    found = create_backbone(name, levels, weights=str(weights))(images)
    for level, own, expected in zip(levels, found, _intermediate(published, images, levels), strict=True):
        assert own.shape == (2, BACKBONES[name].level_channels[level], 64 // level, 64 // level)
        assert expected.std() > 1e-3
        torch.testing.assert_close(own, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_folding_is_exact_in_float64(name: BackboneName, images: Tensor) -> None:
    network = _published(name).double()
    backbone = create_backbone(name, (8, 16), weights=None).double()
    backbone.mean.data, backbone.std.data = (x.double()[None, :, None, None] for x in (MEAN, STD))
    backbone.load_published(network.state_dict())
    expected = _intermediate(network, images.double(), (8, 16))
    for own, level in zip(backbone(images.double()), expected, strict=True):
        torch.testing.assert_close(own, level, atol=1e-11 * float(level.abs().max()), rtol=0)


def test_it_is_frozen_and_no_deeper_than_it_must_be(name: BackboneName, published: nn.Module, images: Tensor) -> None:
    backbone = create_backbone(name, (8, 16), weights="random")
    state = backbone.state_dict()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Linear) for module in backbone.modules())
    assert {key.split(".")[0] for key in state} == {"conv1", "layer1", "layer2", "layer3"}
    assert all(torch.equal(a, b) for a, b in zip(backbone.train()(images), backbone.eval()(images), strict=True))


def test_the_file_needs_no_layers_beyond_the_deepest_level(published: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in published.state_dict().items() if not key.startswith(("fc", "layer4"))}
    torch.save(state, tmp_path / "short.pth")
    name: BackboneName = "resnet18" if state["layer1.0.conv1.weight"].shape[2] == 3 else "wide-resnet50"
    create_backbone(name, (8, 16), weights=str(tmp_path / "short.pth"))
    with pytest.raises(CheckpointError, match=r"layer4\.0\.conv1\.weight is missing"):
        create_backbone(name, (32,), weights=str(tmp_path / "short.pth"))


def test_weights_of_the_other_resnet_are_refused_in_one_line(name: BackboneName, weights: Path) -> None:
    other: BackboneName = "resnet18" if name == "wide-resnet50" else "wide-resnet50"
    with pytest.raises(CheckpointError, match=r"published\.pth do not fit .* has the shape|is missing") as caught:
        create_backbone(other, (8, 16), weights=str(weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "failure", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value"), EOFError("cut short")]
)
def test_weights_that_the_hub_does_not_give_are_one_line(
    failure: Exception, name: BackboneName, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any, **kwargs: Any) -> NoReturn:
        raise failure

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(CheckpointError) as caught:
        create_backbone(name, (8, 16))
    assert report_failure(caught.value) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert ARCHITECTURES[name] in error
    assert "weights=PATH" in hint
    assert ".pth" in hint


def test_random_weights_follow_from_the_seed_and_a_checkpoint_needs_none(name: BackboneName, images: Tensor) -> None:
    values = {"size": 64, "backbone": name, "weights": "random", "bank": 20}
    first, again = (create_detector("patch-nearest", {**values, "seed": 3}) for _ in range(2))
    other = create_detector("patch-nearest", {**values, "seed": 4})
    assert first.backbone is not None
    assert again.backbone is not None
    assert other.backbone is not None
    features = first.backbone(images)
    assert features.isfinite().all()
    assert torch.equal(features, again.backbone(images))
    assert not torch.equal(features, other.backbone(images))
    restored = restore_detector("patch-nearest", {**values, "weights": "/gone.pth", "seed": 3}, first.state_dict())
    assert restored.backbone is not None
    assert torch.equal(features, restored.backbone(images))
