"""DINOv2 as a backbone: transformers' own features, from a folder, on the grid of the others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.errors import CheckpointError, UsageError
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models import create_detector, parse_parameters, restore_detector
from edge_ad.models.backbones import create_backbone
from edge_ad.training.feature_cache import compute_features, to_tensor

transformers = pytest.importorskip("transformers")

VALUES = {"backbone": "dinov2-small", "size": "64x96", "bank": 32, "metric": "cosine"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A randomly drawn DINOv2 of the published sizes, as a user's machine has it, with its mask token."""
    config = transformers.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518)
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
    return tmp_path / "dinov2"


def test_the_features_of_a_folder_are_transformers_own(folder: Path) -> None:
    images = torch.rand(2, 3, 64, 96)
    backbone = create_backbone("dinov2-small", (16,), weights=str(folder))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = F.interpolate((images - mean[:, None, None]) / std[:, None, None], (56, 84), mode="bilinear")
    with torch.no_grad():
        tokens = transformers.Dinov2Model.from_pretrained(folder)(pixels).last_hidden_state[:, 1:]
        (features,) = backbone(images)
    torch.testing.assert_close(features, tokens.transpose(1, 2).reshape(2, 384, 4, 6), atol=1e-4, rtol=1e-4)


def test_stride_8_is_the_finer_grid_of_the_same_network(images: Tensor) -> None:
    (features,) = create_backbone("dinov2-small", (8,), weights="random")(images)
    assert features.shape[1:] == (384, images.shape[2] // 8, images.shape[3] // 8)
    assert 0.05 < features.std() < 100
    assert features.std(0).mean() > 0.02 * features.std()  # images still differ


def test_its_level_is_its_own_and_one_at_a_time() -> None:
    assert parse_parameters("patch-nearest", {"backbone": "dinov2-small"}).model_dump()["levels"] == (16,)
    assert parse_parameters("patch-nearest", {"backbone": "resnet18"}).model_dump()["levels"] == (8, 16)
    with pytest.raises(UsageError, match="one level at a time"):
        parse_parameters("patch-nearest", {"backbone": "dinov2-small", "levels": "8,16"})
    with pytest.raises(UsageError, match="no levels to match"):
        create_detector("patch-nearest", {**VALUES, "weights": "random", "matching": "moments"})


def test_another_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    for source in (str(tmp_path / "vit"), str(tmp_path / "nothing")):
        with pytest.raises(CheckpointError) as caught:
            create_backbone("dinov2-small", (16,), weights=source)
        assert "\n" not in str(caught.value)


@pytest.mark.slow  # twelve layers are traced
def test_the_exported_graph_gives_the_detectors_numbers_for_any_batch(folder: Path) -> None:
    detector = create_detector("patch-nearest", {**VALUES, "weights": str(folder)})
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    assert detector.backbone is not None
    features = compute_features(detector.backbone, images[:2])
    detector.fit_features(features, features)
    restored = restore_detector("patch-nearest", detector.config.model_dump(), detector.state_dict())
    with torch.no_grad():
        expected = restored(to_tensor(images))
    found = run_graph(export_onnx(detector), images)
    np.testing.assert_allclose([one.score for one in found], expected.score.numpy(), rtol=1e-3)
    for one, anomaly_map in zip(found, expected.anomaly_map, strict=True):
        np.testing.assert_allclose(one.anomaly_map, anomaly_map[0].numpy(), atol=1e-3)
