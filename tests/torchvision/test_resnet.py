"""The ResNet backbones against torchvision's own networks."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge_ad.errors import CheckpointError
from edge_ad.models.backbones import BACKBONES, BackboneName, create_backbone

ARCHITECTURES: dict[BackboneName, str] = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "wide-resnet50": "wide_resnet50_2",
}
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


def test_the_file_needs_no_layers_beyond_the_deepest_level(
    name: BackboneName, published: nn.Module, tmp_path: Path
) -> None:
    state = {key: value for key, value in published.state_dict().items() if not key.startswith(("fc", "layer4"))}
    torch.save(state, tmp_path / "short.pth")
    create_backbone(name, (8, 16), weights=str(tmp_path / "short.pth"))
    with pytest.raises(CheckpointError, match=r"layer4\.0\.conv1\.weight is missing"):
        create_backbone(name, (32,), weights=str(tmp_path / "short.pth"))


def test_weights_of_the_other_resnet_are_refused_in_one_line(name: BackboneName, weights: Path) -> None:
    other: BackboneName = "wide-resnet50" if name == "resnet18" else "resnet18"
    with pytest.raises(CheckpointError, match=r"published\.pth do not fit .* has the shape|is missing") as caught:
        create_backbone(other, (8, 16), weights=str(weights))
    assert "\n" not in str(caught.value)
