"""WideResNet-50 with the papers' patch width all the way: train → export → engines → verify, by the command line."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edge_ad.cli.app import main

SETTINGS = ["backbone=wide-resnet50", "weights=random", "levels=8,16", "embedding=768", "rank=2", "hidden=32"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PBAS at 64 pixels, trained for an epoch on a dozen discs."""
    root = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(0)
    (root / "discs").mkdir()
    for index in range(14):
        image = np.full((64, 64, 3), 90, np.uint8)
        cv2.circle(image, (int(rng.integers(28, 36)), int(rng.integers(28, 36))), 18, (200, 160, 120), -1)
        noisy = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(root / "discs" / f"{index:02d}.png"), noisy)
    parameters = [text for setting in SETTINGS for text in ("-p", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AD_CACHE", str(root / "cache"))
        command = ["train", "pbas", "--data", str(root / "discs"), "--runs", str(root), "--name", "run"]
        assert main([*command, "--size", "64", "--epochs", "1", "--device", "cpu", *parameters]) == 0
    return root / "run"


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    assert main(["export", str(run)]) == 0
    return run / "bundle"


def test_the_graph_has_folded_convolutions_and_the_papers_pooling(bundle: Path) -> None:
    (path,) = [path for path in bundle.rglob("*.onnx") if "fp32" in path.name or path.stem == "model"]
    graph = onnx.load(path).graph
    assert not {node.op_type for node in graph.node} & {"BatchNormalization", "Unfold", "Im2Col", "AveragePool"}
    shapes = {tuple(tensor.dims) for tensor in graph.initializer}
    assert {(768, 2, 3, 3), (768, 4, 3, 3)} <= shapes
    assert not any("layer4" in tensor.name or "fc" in tensor.name for tensor in graph.initializer)


def test_its_engines_give_torchs_numbers(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-engine", str(bundle), "--backend", "openvino"]) == 0
    capsys.readouterr()
    assert main(["verify", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
