"""The comparison that Polygraphy makes, and that it can be made again from what is left."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, MissingDependencyError
from edge_ad.export.polygraphy_comparison import compare_with_polygraphy
from edge_ad.runtime.backend import probe_backend
from tests.cli.conftest import bundle as blue_bundle  # noqa: F401  has reference photos
from tests.runtime.tiny_bundle import graph_info, tiny_bundle

pytest.importorskip("polygraphy", reason="needs Polygraphy")


@pytest.fixture
def bundle(blue_bundle: Bundle) -> Bundle:  # noqa: F811
    """A bundle whose FP16 graph is a little off and whose INT8 graph is of another colour."""
    graphs = {}
    for precision, scale in (("fp16", 1.01), ("int8", 3.0)):
        model = onnx.load(str(blue_bundle.graph_path("fp32")))
        value = next(item for item in model.graph.initializer if item.name == "scale")
        value.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(value) * scale, "scale"))
        value.data_type = onnx.TensorProto.FLOAT
        graphs[precision] = model.SerializeToString()
    bundle = blue_bundle.with_graph("fp16", graph_info("model.fp16.onnx"), {"model.fp16.onnx": graphs["fp16"]})
    return bundle.with_graph("int8", graph_info("model.int8.onnx"), {"model.int8.onnx": graphs["int8"]})


@pytest.mark.slow
def test_verify_leaves_a_comparison_that_can_be_repeated_where_it_was_moved_to(
    bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, elsewhere = tmp_path / "comparison", tmp_path / "elsewhere"
    main(["verify", str(bundle.root), "--backend", "onnxruntime", "--polygraphy", str(folder), "--json"])
    shown = json.loads(capfd.readouterr().out)["polygraphy"]  # nothing else is on stdout
    assert [(item["subject"], item["outcome"]) for item in shown] == [
        ("model.fp16.onnx", "passed"),
        ("model.int8.onnx", "failed"),
    ]
    assert len(json.loads((folder / "inputs.json").read_bytes())) == 3
    assert "FAILED" in (folder / "model.int8.onnx.log").read_text()
    elsewhere.mkdir()
    shutil.move(bundle.root, elsewhere / bundle.root.name)
    shutil.move(folder, elsewhere / "comparison")
    script = elsewhere / "comparison" / "replay.sh"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["sh", script], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert "PASSED" in done.stdout
    assert done.returncode != 0  # the last graph is of another colour
    assert all(item["command"] in script.read_text() for item in shown)


def test_a_plan_gets_its_command_and_is_not_run_where_it_cannot_run(
    blue_bundle: Bundle,  # noqa: F811
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra tensorrt-rtx")
    if probe_backend("tensorrt-rtx").available:
        pytest.skip("a GPU is here")
    build = ["build-engine", str(blue_bundle.root), "--backend", "tensorrt-rtx", "--target", "sm89"]
    assert main(build) == 0
    (plan,) = compare_with_polygraphy(blue_bundle, tmp_path / "comparison")
    assert (plan.subject, plan.outcome) == ("engines/tensorrt-rtx-fp32-sm89/model.plan", "not run")
    assert plan.command.startswith("POLYGRAPHY_USE_TENSORRT_RTX=1 polygraphy run ../bundle/engines/")
    assert "--model-type engine --trt --load-inputs inputs.json --load-outputs fp32.json" in plan.command
    assert plan.command in (tmp_path / "comparison" / "replay.sh").read_text()


def test_a_bundle_without_photos_and_a_missing_package_are_one_clear_line(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BundleError, match="no reference outputs"):
        compare_with_polygraphy(tiny_bundle(tmp_path / "tiny", has_reference=False), tmp_path / "p")
    monkeypatch.setitem(sys.modules, "polygraphy", None)
    with pytest.raises(MissingDependencyError, match="polygraphy cannot be imported"):
        compare_with_polygraphy(bundle, tmp_path / "p")
    assert not (tmp_path / "p").exists()
