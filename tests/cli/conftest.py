"""A verb whose behaviour the test chooses, and a bundle and a product small enough to run in no time."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle, Reference, write_bundle
from edge_ad.cli import app as verbs
from edge_ad.manifest import GraphInfo, Manifest, SplitInfo, Threshold
from tests.blue_graph import SIZE_HW, blue_graph

PlantVerb = Callable[[Callable[..., None]], None]


@pytest.fixture
def plant_verb(monkeypatch: pytest.MonkeyPatch) -> PlantVerb:
    """Make a function the verb of its own name."""

    def plant(function: Callable[..., None]) -> None:
        name = function.__name__
        module = ModuleType(f"edge_ad.cli.{name}")
        setattr(module, name, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(verbs.VERBS, name.replace("_", "-"), "A verb of the tests.")

    return plant


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle whose anomaly map is the blue channel in [0, 1] and whose score is the map's maximum."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (3, *SIZE_HW, 3), dtype=np.uint8)
    maps = images[..., 0].astype(np.float32) / 255.0
    reference = Reference(images=images, scores=maps.max(axis=(1, 2)), maps=maps)
    threshold = Threshold(
        value=0.5, rule="chosen", false_alarm_rate=0.01, false_alarm_bound=0.4, confidence=0.95, good_images=3
    )
    manifest = Manifest(
        method="blue",
        parameters={"size": 32},
        product="tiles",
        input_size_hw=SIZE_HW,
        graphs={"fp32": GraphInfo(file="model.onnx", threshold=threshold)},
        split=SplitInfo(seed=0, fit=["a"], calibrate=["b"], threshold=["c"]),
        created="2026-01-01T00:00:00+00:00",
    )
    return write_bundle(
        tmp_path / "bundle", manifest, {"model.onnx": blue_graph(), "reference.npz": reference.to_bytes()}
    )


@pytest.fixture
def product_root(tmp_path: Path) -> Path:
    """A product whose good parts are dark and whose defective ones have a bright blue square; larger than the input."""
    root, rng = tmp_path / "tiles", np.random.default_rng(1)
    for folder, count in (("train/good", 8), ("test/good", 4), ("test/square", 4)):
        for index in range(count):
            image = rng.integers(0, 60, (64, 48, 3), dtype=np.uint8)
            mask = np.zeros((64, 48), np.uint8)
            if folder == "test/square":
                mask[16:32, 8:24] = 255
                image[mask > 0] = (250, 0, 0)
                _write(root / "ground_truth" / "square" / f"{index:03d}_mask.png", mask)
            _write(root / folder / f"{index:03d}.png", image)
    return root


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
