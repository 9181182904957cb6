"""Run → bundle → INT8 → engines → verify, on one small run."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError, DeviceError, QualityGateError, UsageError
from edge_ad.evaluation.thresholds import fit_threshold
from edge_ad.export.build import build_engines, open_target, run_of
from edge_ad.export.bundle_export import export_run, is_current
from edge_ad.export.precisions import graphs_of_run
from edge_ad.export.verify import verify_target
from edge_ad.images import read_resized
from edge_ad.runtime.engines import open_engine
from edge_ad.scene import SceneLimits, measure_scene
from edge_ad.training.runs import Run, load_run, torch_predictor
from tests.export.conftest import with_int8


def test_the_bundle_records_what_it_came_from(run: Run, exported: Bundle) -> None:
    manifest = exported.manifest
    assert manifest.method == "patch-gaussian"
    assert manifest.input_size_hw == (64, 64)
    assert manifest.split.threshold == [content_hash(path) for path in run.split.threshold]
    assert manifest.graphs["fp32"].threshold.good_images == 14 - sum(len(group) - 1 for group in run.split.duplicates)
    assert {"torch", "onnx", "edge-ad"} <= set(manifest.versions)


def test_the_reference_outputs_are_torchs_own_on_held_out_images_and_pseudo_defects(run: Run, exported: Bundle) -> None:
    reference = exported.reference()
    images = read_resized(run.split.threshold, (64, 64))
    defective = PseudoDefects(0).apply(images[:4])[0]
    np.testing.assert_array_equal(reference.images, np.concatenate([images[:8], defective]))
    for index in (0, len(images)):  # a good one and a defective one
        expected = torch_predictor(run.detector)(reference.images[index : index + 1])[0]
        assert reference.scores[index] == pytest.approx(expected.score, rel=1e-6)
    assert max(reference.scores) > exported.manifest.graphs["fp32"].threshold.value


def test_the_threshold_comes_from_scores_of_all_good_photos(run: Run, exported: Bundle) -> None:
    assert len(run.good_scores) == 14  # too few for one in a hundred: the largest
    assert exported.manifest.graphs["fp32"].threshold.value == pytest.approx(max(run.good_scores.values()), rel=1e-5)


def test_a_run_of_before_is_exported_as_it_was(run: Run, exported: Bundle, tmp_path: Path) -> None:
    """Its record names neither folds nor scores, and its split was drawn by chance."""
    record = json.loads((run.root / "run.json").read_text())
    for name in ("folds", "duplicates", "in_blocks"):
        del record["split"][name]
    del record["false_alarm_rate"], record["good_scores"], record["fitted_scores"]
    shutil.copytree(run.root, tmp_path / "old", ignore=shutil.ignore_patterns("bundle"))
    (tmp_path / "old" / "run.json").write_text(json.dumps(record))
    old = load_run(tmp_path / "old")
    bundle = export_run(old)
    own = [prediction.score for prediction in torch_predictor(old.detector)(read_resized(old.split.threshold, (64, 64)))]
    threshold = bundle.manifest.graphs["fp32"].threshold
    assert threshold.value == pytest.approx(max(own), rel=1e-5)
    assert threshold.rule == fit_threshold(np.array(own)).rule
    int8 = with_int8(old, bundle).manifest.graphs["int8"].threshold
    assert int8.rule == threshold.rule
    assert int8.value == pytest.approx(threshold.value, rel=0.1)


def test_the_bundle_says_how_its_photos_looked(run: Run, exported: Bundle) -> None:
    split = run.split
    paths = dict.fromkeys((*split.fit, *split.calibrate, *split.threshold))
    measured = [measure_scene(image) for image in read_resized(list(paths), (64, 64))]
    assert exported.scene() == SceneLimits.of(measured)
    assert exported.scene() is not None


def test_an_unchanged_run_is_not_exported_again_and_a_changed_one_is(run: Run, exported: Bundle) -> None:
    assert is_current(run) is not None
    other = replace(run, split=replace(run.split, fit=run.split.fit[1:]))
    assert is_current(other) is None


def test_a_graph_that_differs_from_torch_is_not_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: Bundle
) -> None:
    monkeypatch.setattr("edge_ad.export.bundle_export.ONNX_TOLERANCE", -1.0)
    elsewhere = replace(run, root=tmp_path / "run")
    with pytest.raises(QualityGateError, match="differs from the trained network"):
        export_run(elsewhere)
    assert not elsewhere.root.exists()


def test_missing_images_are_named(run: Run, tmp_path: Path) -> None:
    gone = replace(run, split=replace(run.split, threshold=(tmp_path / "gone.png",)))
    with pytest.raises(DataError, match=r"gone\.png"):
        export_run(gone)


def test_the_int8_graph_passed_its_gate_and_has_its_own_threshold(calibrated: Bundle) -> None:
    graph = calibrated.graph("int8")
    assert graph.gate is not None
    assert graph.gate.passed
    assert graph.gate.quantised_layers > 0
    assert graph.threshold.value != calibrated.graph("fp32").threshold.value
    assert Bundle.open(calibrated.root).manifest == calibrated.manifest


def test_the_head_is_fitted_on_what_the_quantised_backbone_sees(run: Run, calibrated: Bundle) -> None:
    held_out = read_resized(run.split.threshold, (64, 64))
    with open_engine(calibrated, backend="onnxruntime", precision="int8") as engine:
        quantised = np.array([item.score for item in engine.infer(held_out)])
    float_scores = np.array([item.score for item in torch_predictor(run.detector)(held_out)])
    assert np.abs(quantised - float_scores).max() < 0.2 * float_scores.max()
    assert np.abs(quantised - float_scores).max() > 0


def test_every_step_is_skipped_when_nothing_has_changed(run: Run, calibrated: Bundle, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    first = [item.precision for item in build_engines(tmp_path / "run", backend="openvino")]
    assert [name for name in first if name != "int8-bf16"] == ["int8", "fp32"]  # where the processor has bfloat16
    said: list[str] = []
    again = build_engines(tmp_path / "run", backend="openvino", log=said.append)
    assert all(item.was_current for item in again)
    assert not [line for line in said if line.startswith(("Building", "Exporting", "Fitting"))], said


def test_bfloat16_is_not_tried_where_nearly_all_is_int8(
    run: Run, calibrated: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.root, tmp_path / "run")
    report = tmp_path / "run" / "bundle" / "precision" / "int8.json"
    assert 0 < json.loads(report.read_text())["macs"]["int8_share"] < 0.9  # of a patch detector, for which it is tried
    monkeypatch.setattr("edge_ad.export.bf16.read_report", lambda bundle, precision: {"macs": {"int8_share": 0.957}})
    monkeypatch.setattr("edge_ad.runtime.openvino.backend.OpenVinoBackend.precision_problem", lambda *_: "")
    said: list[str] = []
    _, made = graphs_of_run(tmp_path / "run", "openvino", None, said.append)
    assert made == ["int8", "fp32"]
    assert "Without int8-bf16: 95.7% of the convolutions' arithmetic is INT8 already." in said


def test_a_precision_that_the_backend_refuses_is_left_out_with_the_reason(
    run: Run, calibrated: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> Bundle:
        raise DeviceError("OpenVINO computes the stem in bfloat16, which was gated in float32.")

    shutil.copytree(run.root, tmp_path / "run")
    monkeypatch.setattr("edge_ad.export.bf16.Bf16Recipe.make", refuse)
    monkeypatch.setattr("edge_ad.export.bf16.Bf16Recipe.check", lambda recipe: None)
    monkeypatch.setattr("edge_ad.runtime.openvino.backend.OpenVinoBackend.precision_problem", lambda *_: "")
    said: list[str] = []
    _, made = graphs_of_run(tmp_path / "run", "openvino", None, said.append)
    assert made == ["int8", "fp32"]
    assert any(line.startswith("Without int8-bf16: OpenVINO computes the stem") for line in said)
    with pytest.raises(DeviceError):  # asked for, it is an error
        graphs_of_run(tmp_path / "run", "openvino", ["int8-bf16"], said.append)


def test_engines_are_built_from_a_bundle_alone_without_torch_or_onnx(calibrated: Bundle, tmp_path: Path) -> None:
    alone = tmp_path / "device"
    shutil.copytree(calibrated.root, alone)
    shutil.rmtree(alone / "engines", ignore_errors=True)
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'safetensors'): sys.modules[name] = None\n"
        "from edge_ad.cli import main\n"
        f"codes = main(['build-engine', {str(alone)!r}]), main(['verify', {str(alone)!r}, '--json'])\n"
        "sys.exit(max(codes))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((alone / "engines").iterdir())) == 2


def test_verify_holds_every_engine_against_torch(run: Run, calibrated: Bundle) -> None:
    result = verify_target(run.root)
    assert result.passed
    assert {check.engine for check in result.checks} == {
        f"{backend} {precision}" for backend in ("openvino", "onnxruntime") for precision in ("fp32", "int8")
    }
    assert all(check.deviation.map <= 1e-3 for check in result.checks if check.engine.endswith("fp32"))


def test_verify_ends_with_4_when_an_engine_does_not_give_the_trained_numbers(
    calibrated: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "bundle"
    shutil.copytree(calibrated.root, root)
    shutil.rmtree(root / "engines", ignore_errors=True)
    reference = calibrated.reference()
    off = replace(reference, scores=reference.scores + np.float32(1.0 * reference.maps.max()))
    _replace_reference(root, off.to_bytes())
    assert main(["verify", str(root), "--backend", "onnxruntime", "--json"]) == 4
    output = capsys.readouterr()
    assert json.loads(output.out)["passed"] is False
    assert "onnxruntime fp32" in output.err


def test_a_folder_that_is_neither_run_nor_bundle_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither"):
        open_target(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        open_target(tmp_path / "gone")


def test_a_bundle_alone_cannot_be_calibrated(calibrated: Bundle, tmp_path: Path) -> None:
    shutil.copytree(calibrated.root, tmp_path / "bundle")
    with pytest.raises(UsageError, match="without its run"):
        run_of(tmp_path / "bundle")


@pytest.mark.parametrize("verb", ["export", "calibrate", "build-engine", "verify"])
def test_the_verbs_print_json_and_nothing_else_on_stdout(
    verb: str, run: Run, calibrated: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.root, tmp_path / "run")  # other tests expect that one as it is
    drop = ["--max-drop", "0.2", "--backend", "openvino"] if verb == "calibrate" else []
    assert main([verb, str(tmp_path / "run"), "--json", *drop]) == 0
    assert json.loads(capsys.readouterr().out)


def _replace_reference(root: Path, content: bytes) -> None:
    (root / "reference.npz").write_bytes(content)
    document = json.loads((root / "manifest.json").read_bytes())
    document["files"]["reference.npz"] = content_hash(root / "reference.npz")
    (root / "manifest.json").write_text(json.dumps(document))
