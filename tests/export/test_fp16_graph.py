"""Run → bundle → FP16 graph → engine → verify, on a copy of the small run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from edge_ad.bundle import Bundle
from edge_ad.calibration.gate import GateLimits
from edge_ad.cli.app import main
from edge_ad.errors import QualityGateError
from edge_ad.export import fp16
from edge_ad.export.build import build_engines
from edge_ad.export.bundle_export import is_current
from edge_ad.export.fp16 import Fp16Recipe
from edge_ad.export.recipes import Calibration, RecipeOptions, add_graph, read_report
from edge_ad.export.recipes import is_current as is_graph_current
from edge_ad.export.verify import verify_target
from edge_ad.training.runs import Run

OPTIONS = RecipeOptions("onnxruntime")
FP16 = Fp16Recipe()


@pytest.fixture(scope="module")
def half_run(run: Run, exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the run whose bundle may be changed."""
    root = tmp_path_factory.mktemp("fp16") / "run"
    shutil.copytree(run.root, root)
    shutil.rmtree(root / "bundle" / "engines", ignore_errors=True)
    return replace(run, root=root)


@pytest.fixture(scope="module")
def half(half_run: Run) -> Bundle:
    """Its bundle with the FP16 graph."""
    bundle = is_current(half_run)
    assert bundle is not None
    return add_graph(FP16, Calibration(half_run, bundle, OPTIONS))


def test_the_bundle_has_an_fp16_graph_that_passed_its_gate_and_has_its_own_threshold(half: Bundle) -> None:
    graph = half.graph("fp16")
    assert graph.gate is not None
    assert graph.gate.passed
    assert graph.threshold.value == pytest.approx(half.graph("fp32").threshold.value, rel=0.02)
    assert graph.threshold.value != half.graph("fp32").threshold.value
    assert half.graph_path("fp16").stat().st_size < half.graph_path("fp32").stat().st_size
    assert Bundle.open(half.root).manifest == half.manifest


def test_the_graph_takes_uint8_and_gives_float32(half: Bundle) -> None:
    graph = onnx.load(str(half.graph_path("fp16"))).graph
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert {item.type.tensor_type.elem_type for item in graph.output} == {TensorProto.FLOAT}


def test_the_report_says_which_nodes_stay_in_fp32_and_why_and_what_ran(half: Bundle) -> None:
    report = read_report(half, "fp16")
    assert report["engine"].startswith("onnxruntime ")
    assert "float32" in report["arithmetic"]
    assert report["gate_with_every_tensor_rounded"]["passed"]
    assert report["fp16_layers"]
    reasons = set(report["fp32_nodes"].values())
    assert any("after the last layer" in reason or "judges" in reason for reason in reasons)
    names = {node.name for node in onnx.load(str(half.graph_path("fp32"))).graph.node}
    assert {*report["fp32_nodes"], *report["fp16_layers"]} <= names


def test_a_graph_is_current_for_its_own_options_only(half_run: Run, half: Bundle) -> None:
    assert is_graph_current(FP16, Calibration(half_run, half, OPTIONS))
    own = replace(OPTIONS, calibration_images=half_run.product_root)
    for other in (own, replace(OPTIONS, limits=GateLimits(score_drift=0.1))):
        assert is_graph_current(FP16, Calibration(half_run, half, other), any_options=True)
        assert not is_graph_current(FP16, Calibration(half_run, half, other))


def test_a_failing_gate_leaves_the_bundle_as_it_was(half_run: Run, half: Bundle) -> None:
    before = {path: path.read_bytes() for path in sorted(half.root.rglob("*")) if path.is_file()}
    impossible = replace(OPTIONS, limits=GateLimits(map_correlation=1.1))
    with pytest.raises(QualityGateError, match="map_correlation"):
        add_graph(FP16, Calibration(half_run, half, impossible))
    assert {path: path.read_bytes() for path in sorted(half.root.rglob("*")) if path.is_file()} == before


def test_a_graph_that_loses_its_numbers_to_rounding_fails_although_the_engine_does_not_round(
    half_run: Run, half: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fp16, "round_tensors", _zero_weights)
    before = half.manifest
    with pytest.raises(QualityGateError, match="accuracy gate"):
        add_graph(FP16, Calibration(half_run, half, OPTIONS))
    assert Bundle.open(half.root).manifest == before


def test_an_engine_is_built_of_it_once_and_verified(half_run: Run, half: Bundle) -> None:
    first = build_engines(half_run.root, backend="onnxruntime", precisions=["fp16"])
    assert [item.precision for item in first] == ["fp16"]
    assert first[0].engine.sidecar.threshold == half.graph("fp16").threshold
    assert build_engines(half_run.root, backend="onnxruntime", precisions=["fp16"])[0].was_current
    checks = {check.engine: check for check in verify_target(half_run.root, backend="onnxruntime").checks}
    assert checks["onnxruntime fp16"].passed


def test_the_verb_makes_it_and_skips_it_when_nothing_has_changed(
    half_run: Run, half: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["calibrate", str(half_run.root), "--precision", "fp16", "--backend", "onnxruntime"]
    monkeypatch.setattr(Fp16Recipe, "make", lambda *arguments: pytest.fail("made again"))
    assert main([*command, "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["file"] == "model.fp16.onnx"
    assert "up to date" in output.err
    assert main(command) == 0
    assert "layers in FP16" in capsys.readouterr().out


def test_the_default_of_build_engine_makes_no_fp16(run: Run, calibrated: Bundle, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    built = [item.precision for item in build_engines(tmp_path / "run", backend="openvino")]
    assert [name for name in built if name != "int8-bf16"] == ["int8", "fp32"]  # where the processor has bfloat16
    assert "fp16" not in Bundle.open(tmp_path / "run" / "bundle").manifest.graphs


def _zero_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    broken = onnx.ModelProto.FromString(graph.SerializeToString())
    for tensor in broken.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16 and tensor.raw_data:
            tensor.raw_data = bytes(len(tensor.raw_data))
    return broken
