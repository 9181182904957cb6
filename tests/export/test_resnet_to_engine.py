"""The ResNets all the way, by the command line: train → export → engines → verify. Their weights are untrained."""

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.export.recipes import read_report
from tests.export.discs import draw_discs

pytestmark = pytest.mark.slow
WIDE = ["weights=random"]
SMALL = ["backbone=resnet18", "weights=random", "rank=2"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("resnet")
    draw_discs(root / "discs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AD_CACHE", str(root / "cache"))
        yield root


def _train(root: Path, method: str, settings: list[str], *options: str) -> Path:
    parameters = [text for setting in settings for text in ("-p", setting)]
    command = ["train", method, "--data", str(root / "discs"), "--runs", str(root), "--name", method]
    assert main([*command, "--size", "64", "--device", "cpu", *options, *parameters]) == 0
    return root / method


@pytest.fixture(scope="module")
def wide(root: Path) -> Path:
    """PBAS on WideResNet-50 as published, after one epoch at 64 pixels, as a bundle."""
    run = _train(root, "pbas", WIDE, "--preset", "published", "--epochs", "1")
    assert main(["export", str(run)]) == 0
    return run / "bundle"


def test_the_graph_has_folded_convolutions_and_the_papers_pooling(wide: Path) -> None:
    graph = onnx.load(wide / "model.onnx").graph
    assert not {node.op_type for node in graph.node} & {"BatchNormalization", "Unfold", "Im2Col", "AveragePool"}
    shapes = {tuple(tensor.dims) for tensor in graph.initializer}
    assert {(768, 2, 3, 3), (768, 4, 3, 3)} <= shapes
    assert not any("layer4" in tensor.name or "fc" in tensor.name for tensor in graph.initializer)


def test_the_engines_of_wide_resnet_give_torchs_numbers(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-engine", str(wide), "--backend", "openvino", "--precision", "fp32"]) == 0
    capsys.readouterr()
    assert main(["verify", str(wide), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_resnet_18_becomes_an_int8_engine_that_passes_its_gate(root: Path) -> None:
    run = _train(root, "patch-gaussian", SMALL)
    options = ["--backend", "openvino", "--precision", "int8", "--max-drop", "0.2"]
    assert main(["build-engine", str(run), *options]) == 0
    bundle = Bundle.open(run / "bundle")
    gate = bundle.graph("int8").gate
    assert gate is not None
    assert gate.passed
    assert gate.quantised_layers >= 10
    assert "patch_features.network.conv1" in read_report(bundle, "int8")["float_layers"]
