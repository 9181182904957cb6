"""Backbones by name: their weights and levels, and what a user can get wrong about them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edge_ad.errors import CheckpointError, UsageError
from edge_ad.models import create_detector, parse_parameters, restore_detector
from edge_ad.models.backbones import BACKBONES, create_backbone
from edge_ad.models.backbones.efficientnet_lite import EfficientNetLite0
from edge_ad.models.feature_detector import PatchFeatures


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return EfficientNetLite0.imagenet_weights()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_file_gives_the_features_of_the_same_weights(
    suffix: str, published: dict[str, Tensor], tmp_path: Path, images: Tensor
) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(published, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in published.items()}, path)
    from_file = create_backbone("efficientnet-lite0", (4, 8), weights=str(path))
    own = create_backbone("efficientnet-lite0", (4, 8))
    assert all(torch.equal(a, b) for a, b in zip(from_file(images), own(images), strict=True))


def test_random_weights_follow_from_the_seed_alone(images: Tensor) -> None:
    def features(seed: int) -> Tensor:
        torch.manual_seed(torch.seed())
        detector = create_detector("patch-nearest", {"size": 64, "weights": "random", "seed": seed})
        assert detector.backbone is not None
        return detector.backbone(images)

    assert torch.equal(features(1), features(1))
    assert not torch.equal(features(1), features(2))


def test_random_features_neither_vanish_nor_explode(images: Tensor) -> None:
    for level in create_backbone("efficientnet-lite0", (4, 8, 16), weights="random")(images):
        assert 0.05 < level.std() < 100
        assert level.std(0).mean() > 0.05 * level.std()  # images still differ


def _corrupt(path: Path, kind: str, published: dict[str, Tensor]) -> None:
    match kind:
        case "noise.pth" | "noise.safetensors":
            path.write_bytes(b"no weights at all")
        case "empty.pth":
            path.write_bytes(b"")
        case "cut.pth":
            torch.save(published, path)
            path.write_bytes(path.read_bytes()[:5000])
        case "code.pth":
            torch.save({"model": torch.nn.Linear(2, 2)}, path)
        case "nested.pth":
            torch.save({"state_dict": published}, path)
        case "list.pth":
            torch.save([torch.zeros(2)], path)
        case "missing.pth":
            torch.save({k: v for k, v in published.items() if k != "_blocks.2._bn1.running_mean"}, path)
        case "shape.pth":
            torch.save({**published, "_conv_stem.weight": torch.zeros(32, 4, 3, 3)}, path)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("noise.pth", "cannot be read"),
        ("noise.safetensors", "cannot be read"),
        ("empty.pth", "cannot be read"),
        ("cut.pth", "cannot be read"),
        ("code.pth", "cannot be read"),
        ("nested.pth", "not a state dict"),
        ("list.pth", "not a state dict"),
        ("missing.pth", r"_blocks\.2\._bn1\.running_mean is missing"),
        ("shape.pth", r"_conv_stem\.weight has the shape \(32, 4, 3, 3\)"),
    ],
)
def test_a_bad_file_is_named_in_one_line(kind: str, said: str, published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / kind
    _corrupt(path, kind, published)
    with pytest.raises(CheckpointError, match=said) as caught:
        create_backbone("efficientnet-lite0", (8, 16), weights=str(path))
    assert kind in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.pth"):
        create_backbone("efficientnet-lite0", (8, 16), weights=str(tmp_path / "gone.pth"))


def test_a_restored_detector_reads_no_weights_again(published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(published, path)
    values = {"size": 64, "rank": 2, "weights": str(path)}
    made = create_detector("patch-gaussian", values)
    state = made.state_dict()
    path.unlink()
    restored = restore_detector("patch-gaussian", made.config.model_dump(), state).state_dict()
    assert all(torch.equal(restored[name], tensor) for name, tensor in state.items())


def test_a_run_of_before_has_the_names_and_the_choices_of_today() -> None:
    config = parse_parameters("patch-gaussian", {"levels": [8, 16], "neighbourhood": 3, "sigma": 4.0, "rank": 16})
    assert {
        "backbone": "efficientnet-lite0",
        "weights": "imagenet",
        "embedding": 0,
    }.items() <= config.model_dump().items()
    names = set(PatchFeatures(pretrained=False).state_dict())
    assert {"average_8", "average_16", "network.stem.weight", "network.stages.1.0.expand.bias"} <= names
    assert PatchFeatures(pretrained=False).average_8.shape == (40, 1, 3, 3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"levels": "8,64"}, r"levels of efficientnet-lite0 are strides out of \[4, 8, 16, 32\]"),
        ({"backbone": "resnet18", "levels": "8,64"}, r"levels of resnet18 are strides out of \[4, 8, 16, 32\]"),
        ({"backbone": "vgg"}, "backbone"),
        ({"weights": ""}, "weights"),
    ],
)
def test_a_choice_that_is_not_there_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_parameters("simplenet", values)
    assert "\n" not in str(caught.value)


def test_a_resnet_may_have_a_level_of_its_own() -> None:
    config = parse_parameters("patch-nearest", {"backbone": "wide-resnet50", "levels": "16,32"})
    assert config.model_dump()["levels"] == (16, 32)


@pytest.mark.parametrize("name", [name for name, kind in BACKBONES.items() if not kind.has_one_level])
def test_every_pyramid_has_the_papers_levels(name: str) -> None:
    assert {4, 8, 16} <= BACKBONES[name].level_channels.keys()  # type: ignore[index]
