"""bfloat16 as a precision: gated like the others, and pinned in the engine."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

from edge_ad.bundle import Bundle
from edge_ad.calibration.graph_runner import bf16_features
from edge_ad.calibration.rounding import to_bf16
from edge_ad.calibration.gate import GateLimits
from edge_ad.calibration.layers import FloatModules, backbone_output
from edge_ad.cli import main
from edge_ad.errors import DeviceError, QualityGateError
from edge_ad.export.bf16 import Bf16Recipe
from edge_ad.export.recipes import Calibration, Listeners, RecipeOptions, add_graph, is_current
from edge_ad.images import read_resized
from edge_ad.runtime import open_engine
from edge_ad.runtime.target import Processor, processor
from edge_ad.training.runs import Run

OPTIONS = RecipeOptions("openvino", GateLimits(image_auroc_drop=0.2, pixel_auroc_drop=0.2))
BF16 = Bf16Recipe("fp32")
needs_bf16 = pytest.mark.skipif(not processor().has_bf16, reason="this processor has no bfloat16")


@pytest.fixture
def own(exported: Bundle, tmp_path: Path) -> Bundle:
    """A copy of the bundle that all tests share."""
    shutil.copytree(exported.root, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


@needs_bf16
def test_a_graph_in_bfloat16_has_a_gate_and_a_threshold_of_its_own(run: Run, own: Bundle) -> None:
    bundle = add_graph(BF16, Calibration(run, own, OPTIONS))
    assert is_current(BF16, Calibration(run, bundle, OPTIONS))
    other = Calibration(run, bundle, RecipeOptions("openvino"))
    assert is_current(BF16, other, any_options=True)
    assert not is_current(BF16, other)
    info = bundle.graph("bf16")
    assert "patch_features.network.stem" in info.float32
    assert info.gate is not None
    assert info.gate.passed
    images = read_resized(run.split.threshold, bundle.manifest.input_size_hw)
    with (
        open_engine(bundle, backend="openvino", precision="bf16") as rounded,
        open_engine(bundle, backend="openvino", precision="fp32") as exact,
    ):
        assert rounded.threshold == info.threshold
        scores, expected = ([item.score for item in engine.infer(images)] for engine in (rounded, exact))
    assert not np.array_equal(scores, expected)  # it really is another arithmetic
    np.testing.assert_allclose(scores, expected, rtol=0.3)


@needs_bf16
def test_a_gate_that_fails_leaves_the_bundle_as_it_was(run: Run, own: Bundle) -> None:
    impossible = RecipeOptions("openvino", GateLimits(map_correlation=1.1))
    before = set(Bundle.open(own.root).manifest.graphs)
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(QualityGateError, match="bf16 fails the accuracy gate"):
            add_graph(BF16, Calibration(run, Bundle.open(own.root), impossible, Listeners(said.append)))
    gated = [text for text in said if text.startswith("bf16 with")]
    assert [text.split(" in float32")[0] for text in gated] == [
        "bf16 with the start of the backbone",
        "bf16 with all that judges",
    ]  # once: the second time it is known
    assert set(Bundle.open(own.root).manifest.graphs) == before


@needs_bf16
def test_what_passed_is_made_again_when_its_base_was_made_again(run: Run, own: Bundle) -> None:
    passed = add_graph(BF16, Calibration(run, own, OPTIONS))
    without = passed.with_graph("fp32", passed.graph("fp32"), {})  # the same graph, to the byte
    assert "bf16" not in without.manifest.graphs
    again = add_graph(BF16, Calibration(run, without, OPTIONS))
    assert is_current(BF16, Calibration(run, again, OPTIONS))


def test_without_the_instructions_nothing_is_gated(run: Run, own: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edge_ad.runtime.openvino.backend.processor", lambda: Processor("x86_64", "test", ("avx2",), "x86_64-avx2")
    )
    with pytest.raises(DeviceError, match="no bfloat16 instructions"):
        add_graph(BF16, Calibration(run, own, OPTIONS))


@needs_bf16
def test_the_verb_gates_it_and_is_content_with_one_that_passed(
    run: Run, own: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.root, own.root.parent / "run", ignore=shutil.ignore_patterns("bundle"))
    own.root.rename(own.root.parent / "run" / "bundle")
    command = ["calibrate", str(own.root.parent / "run"), "--precision", "bf16", "--max-drop", "0.5", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["gate"]["passed"] is True
    assert main(command) == 0
    assert "up to date" in capsys.readouterr().err


@needs_bf16
def test_what_is_fitted_on_features_is_fitted_on_those_that_the_engine_computes(
    run: Run, calibrated: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(calibrated.root, tmp_path / "bundle")
    bundle = add_graph(Bf16Recipe("int8"), Calibration(run, Bundle.open(tmp_path / "bundle"), OPTIONS))
    base, own = (onnx.load(str(bundle.graph_path(name))) for name in ("int8", "int8-bf16"))
    assert bundle.graph("int8-bf16").gate is not None
    wanted, found = (sum(node.op_type == "QuantizeLinear" for node in model.graph.node) for model in (base, own))
    assert 0 < found == wanted
    before, after = ({tensor.name: to_array(tensor) for tensor in model.graph.initializer} for model in (base, own))
    shared = before.keys() & after.keys()
    changed = {name for name in shared if not np.array_equal(before[name], after[name])}
    assert "detector.gaussian.mean" in changed
    # The backbone is frozen, its weights are rounded; blocks in float throughout are filled with zeros.
    backbone = {name for name in changed if "network" in name}
    assert all(np.array_equal(after[name], to_bf16(after[name])) for name in backbone)
    filled = {name.split("network.")[1] for name in backbone if before[name].shape != after[name].shape}
    assert {".".join(name.split(".")[:3]) for name in filled} == {f"stages.{block}" for block in ("1.1", "2.0", "3.0")}
    project = "detector.patch_features.network.stages.1.1.project.weight"
    assert (before[project].shape[1], after[project].shape[1], np.abs(after[project][:, 144:]).max()) == (144, 160, 0)
    images = read_resized(run.split.fit, bundle.manifest.input_size_hw)
    parts = bundle.graph("int8-bf16").float32
    features = bf16_features(own, backbone_output(own, FloatModules.of(run.detector)), images, float32=parts)
    np.testing.assert_allclose(after["detector.gaussian.mean"][0], features.mean(0), rtol=1e-4, atol=1e-5)
