"""Run → bundle → INT8 graph and its report, on the small run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_ad.bundle import Bundle
from edge_ad.calibration.calibration_set import HeldImages
from edge_ad.calibration.gate import AccuracyGate, Gated, GateLimits
from edge_ad.calibration.layers import FloatModules, backbone_output, float_reasons, int8_candidates
from edge_ad.calibration.quantiser import BackboneForm, Quantiser
from edge_ad.calibration.ranges import RangeChoice
from edge_ad.calibration.rescaling import scale_channels
from edge_ad.calibration.graph_runner import backbone_features
from edge_ad.cli.app import main
from edge_ad.errors import DataError, QualityGateError
from edge_ad.export import int8
from edge_ad.export.bundle_export import is_current
from edge_ad.export.int8 import Int8Recipe
from edge_ad.export.recipes import Calibration, RecipeOptions, read_report
from edge_ad.export.recipes import is_current as is_graph_current
from edge_ad.export.refit import RefittingQuantiser
from edge_ad.export.tensorrt.listing import convolution_macs
from edge_ad.export.tensorrt.qdq_check import check_qdq
from edge_ad.images import read_resized
from edge_ad.training.runs import Run
from tests.export.conftest import OPTIONS, with_int8

# Of these float layers of the small run nothing passes, so that the search tries everything.
IMPOSSIBLE = replace(OPTIONS, limits=GateLimits(map_correlation=1.1))
INT8 = Int8Recipe()


@pytest.fixture(scope="module")
def own_run(run: Run, calibrated: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the run whose bundle may be changed."""
    root = tmp_path_factory.mktemp("int8") / "run"
    shutil.copytree(run.root, root)
    shutil.rmtree(root / "bundle" / "engines", ignore_errors=True)
    return replace(run, root=root)


@pytest.fixture
def without_refit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of many steps, without a fit of the head for each."""
    monkeypatch.setattr(RefittingQuantiser, "quantise", lambda self, layers: self.plain.quantise(layers))


def bundle_of(run: Run) -> Bundle:
    bundle = is_current(run)
    assert bundle is not None
    return bundle


def is_calibrated(run: Run, bundle: Bundle, options: RecipeOptions) -> bool:
    return is_graph_current(INT8, Calibration(run, bundle, options))


def test_a_calibration_is_current_for_its_own_options_only(own_run: Run) -> None:
    bundle = bundle_of(own_run)
    assert is_calibrated(own_run, bundle, OPTIONS)
    own_images = replace(OPTIONS, calibration_images=own_run.product_root)
    for other in (replace(OPTIONS, ranges="mse"), replace(OPTIONS, limits=GateLimits()), own_images):
        assert is_graph_current(INT8, Calibration(own_run, bundle, other), any_options=True)
        assert not is_calibrated(own_run, bundle, other)


def test_an_int8_graph_of_another_form_is_made_again(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(own_run)
    monkeypatch.setattr(Int8Recipe, "version", "another")
    assert not is_graph_current(INT8, Calibration(own_run, bundle, OPTIONS), any_options=True)
    assert not is_calibrated(own_run, bundle, OPTIONS)


def test_the_report_says_where_every_layer_is_and_what_share_of_the_arithmetic_is_int8(
    run: Run, calibrated: Bundle
) -> None:
    model = onnx.load(str(calibrated.graph_path("fp32")))
    report = read_report(calibrated, "int8")
    assert report["int8_layers"] == int8_candidates(model, FloatModules.of(run.detector))
    assert report["float_layers"] == float_reasons(model, FloatModules.of(run.detector))
    macs = convolution_macs(model)
    assert report["macs"]["total"] == sum(macs.values())
    assert report["macs"]["int8_share"] == sum(macs[layer] for layer in report["int8_layers"]) / sum(macs.values())
    assert report["gate"]["passed"]
    assert report["returned_layers"] == {}
    assert report["engine"].startswith("openvino ")


def test_few_calibration_images_are_filled_up_from_those_that_were_fitted_on(run: Run, calibrated: Bundle) -> None:
    assert len(run.split.calibrate) == 2
    calibration = read_report(calibrated, "int8")["calibration"]
    assert calibration["images"] == 8
    assert "6 of those that were fitted on" in calibration["chosen"]


def test_the_page_needs_nothing_beside_it(calibrated: Bundle) -> None:
    page = (calibrated.root / "precision" / "int8.html").read_text()
    assert "precision/int8.html" in calibrated.manifest.files
    assert not any(word in page for word in ("<script", "src=", "http://", "https://"))
    assert "Accuracy gate" in page
    assert "--sensitivity" in page  # it was not measured, and the page says how it is


def test_the_layers_that_the_gate_asks_for_go_back_and_the_report_says_why_and_what_they_cost(
    own_run: Run, without_refit: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = AccuracyGate.judge

    def until_two_are_back(*arguments: Any, **figures: Any) -> Gated:
        gated = judge(*arguments, **figures)
        enough = len(gated.report.float_layers) >= 2
        return replace(gated, report=gated.report.model_copy(update={"passed": enough}))

    monkeypatch.setattr(AccuracyGate, "judge", until_two_are_back)
    bundle = with_int8(own_run, bundle_of(own_run), replace(OPTIONS, ranges="minmax"))
    report = read_report(bundle, "int8")
    noisiest = [item["layer"] for item in report["sensitivity"][:2]]
    assert list(report["returned_layers"]) == noisiest == report["gate"]["float_layers"]
    assert [len(step["returned"]) for step in report["steps"]] == [0, 1, 2]
    assert not set(noisiest) & set(report["int8_layers"])
    assert set(report["latency"]["layers"]) == set(noisiest)
    assert report["latency"]["int8"]["median_ms"] > 0
    page = (bundle.root / "precision" / "int8.html").read_text()
    assert page.count("fill: var(--defective); opacity") == 2  # two bars
    assert all(layer in page for layer in noisiest)
    quantised = onnx.load(str(bundle.graph_path("int8")))
    sources = {name: node.op_type for node in quantised.graph.node for name in node.output}
    for node in quantised.graph.node:
        if node.name in noisiest:
            assert sources.get(node.input[0]) != "DequantizeLinear"


def test_a_gate_that_nothing_passes_leaves_the_bundle_as_it_was(own_run: Run, without_refit: None) -> None:
    bundle = bundle_of(own_run)
    said: list[str] = []
    with pytest.raises(QualityGateError, match="map_correlation"):
        with_int8(own_run, bundle, IMPOSSIBLE, said.append)
    layers = len(int8_candidates(onnx.load(str(bundle.graph_path("fp32"))), FloatModules.of(own_run.detector)))
    assert any(line.startswith(f"1 layers in INT8, {layers - 1} back in float") for line in said)
    assert Bundle.open(bundle.root).manifest == bundle.manifest


def test_the_sensitivity_is_measured_once_and_shown_as_a_table_and_json(
    own_run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = with_int8(own_run, bundle_of(own_run), OPTIONS)
    assert read_report(bundle, "int8")["sensitivity"] == []
    before = bundle.graph("int8")
    command = ["calibrate", str(own_run.root), "--max-drop", "0.2", "--backend", "openvino", "--sensitivity"]
    assert main(command) == 0
    table = capsys.readouterr().out
    layers = int8_candidates(onnx.load(str(bundle.graph_path("fp32"))), FloatModules.of(own_run.detector))
    assert all(layer in table for layer in layers)
    assert "SQNR" in table
    monkeypatch.setattr(int8, "SensitivityAnalysis", lambda *arguments, **options: pytest.fail("measured twice"))
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {item["layer"] for item in document["sensitivity"]} == set(layers)
    assert [item["sqnr_db"] for item in document["sensitivity"]] == sorted(
        item["sqnr_db"] for item in document["sensitivity"]
    )
    after = Bundle.open(bundle.root)
    assert after.graph("int8") == before
    assert "<svg" in (after.root / "precision" / "int8.html").read_text()
    assert INT8.add_sensitivity(Calibration(own_run, after, OPTIONS)) == after


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_calibration_folder_with_three_images_is_one_line_and_exit_code_2(
    precision: str, own_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "three"
    folder.mkdir()
    for path in own_run.split.fit[:3]:
        shutil.copy(path, folder)
    before = Bundle.open(own_run.root / "bundle").manifest
    command = ["calibrate", str(own_run.root), "--precision", precision, "--calibration-images", str(folder)]
    assert main(command) == 2
    output = capsys.readouterr()
    assert "holds 3 different images to calibrate on; at least 8 are needed." in output.err
    assert "Traceback" not in output.err
    assert Bundle.open(own_run.root / "bundle").manifest == before


def test_a_run_whose_held_out_images_are_test_images_is_refused(own_run: Run, tmp_path: Path) -> None:
    test = tmp_path / "product" / "test" / "good"
    test.mkdir(parents=True)
    shutil.copy(own_run.split.threshold[0], test / "seen.png")
    leaking = replace(own_run, product_root=tmp_path / "product")
    with pytest.raises(DataError, match="also a test image"):
        with_int8(leaking, bundle_of(own_run), OPTIONS)


def test_own_calibration_images_are_used_and_named_in_the_report(own_run: Run, without_refit: None) -> None:
    options = replace(OPTIONS, calibration_images=own_run.product_root)
    bundle = with_int8(own_run, bundle_of(own_run), options)
    chosen = read_report(bundle, "int8")["calibration"]
    threshold = len(own_run.split.threshold)
    assert chosen["images"] == 14 - threshold
    assert f"{threshold} left out, they set the threshold" in chosen["chosen"]
    assert is_calibrated(own_run, bundle, options)
    assert not is_calibrated(own_run, bundle, OPTIONS)


def test_build_engine_calibrates_anew_for_other_options_and_only_then(
    own_run: Run, without_refit: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["build-engine", str(own_run.root), "--backend", "onnxruntime", "--precision", "int8", "--json"]
    given = ["--max-drop", "0.3", "--ranges", "entropy"]
    assert main([*command, *given]) == 0
    assert "Ranges by entropy" in capsys.readouterr().err
    report = read_report(bundle_of(own_run), "int8")
    assert report["source"]["rule"] == "entropy"
    assert report["source"]["limits"]["pixel_auroc_drop"] == 0.3
    for options in (given, []):
        assert main([*command, *options]) == 0
        assert "Ranges by" not in capsys.readouterr().err


def test_the_backbone_in_int8_is_nearer_to_float_than_with_weights_rounded_to_the_nearest(own_run: Run) -> None:
    model = onnx.load(str(bundle_of(own_run).graph_path("fp32")))
    modules = FloatModules.of(own_run.detector)
    layers = [layer for layer in int8_candidates(model, modules) if modules.is_backbone(layer)]
    frames, unseen = (read_resized(part, (64, 64)) for part in (own_run.split.fit, own_run.split.threshold))
    form = BackboneForm.measure(model, layers, frames, "percentile")
    output = backbone_output(model, modules)
    exact = backbone_features(model, output, unseen)

    def noise(graph: onnx.ModelProto) -> float:
        error = backbone_features(graph, output, unseen) - exact
        return float(np.square(error - error.mean(0)).mean())

    assert set(form.rounded) == set(layers)
    formed = form.quantise(scale_channels(model, form.scales), layers, form.clips)
    assert noise(formed) < 0.5 * noise(Quantiser(model, layers, frames, "percentile").quantise(layers))


def test_by_default_all_that_the_images_show_is_in_the_ranges_of_a_backbone(own_run: Run) -> None:
    model = onnx.load(str(bundle_of(own_run).graph_path("fp32")))
    layers = int8_candidates(model, FloatModules.of(own_run.detector))
    held = HeldImages(own_run.split, own_run.split.calibrate, (64, 64))

    def clips(rule: RangeChoice) -> dict[str, float]:
        return RefittingQuantiser(own_run, model, layers, held, rule, lambda text: None).plain.clips

    assert clips("auto") == clips("minmax")
    least_error = clips("mse")
    assert all(least_error[tensor] <= clip for tensor, clip in clips("auto").items())
    assert least_error != clips("auto")


def test_a_bundle_alone_cannot_be_calibrated_by_build_engine(
    calibrated: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(calibrated.root, tmp_path / "alone")
    assert main(["build-engine", str(tmp_path / "alone"), "--max-drop", "0.1"]) == 2
    assert "is a bundle without its run" in capsys.readouterr().err


def test_the_graph_has_the_form_that_every_backend_takes(own_run: Run, without_refit: None) -> None:
    model = onnx.load(str(bundle_of(own_run).graph_path("fp32")))
    layers = int8_candidates(model, FloatModules.of(own_run.detector))
    held = HeldImages(own_run.split, own_run.split.calibrate, (64, 64))
    quantiser = RefittingQuantiser(own_run, model, layers, held, "percentile", lambda text: None)
    for chosen in (layers, layers[::2], layers[-1:]):
        graph = quantiser.quantise(chosen)
        onnx.checker.check_model(graph, full_check=True)
        check_qdq(graph)
        scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
        for node in graph.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                assert scales[node.input[2]].dtype.name == "int8"
                assert not scales[node.input[2]].any()
            if node.name in chosen and len(node.input) > 2:
                assert scales[node.input[2]].dtype.name == "float32"
