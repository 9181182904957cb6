"""Every file that an engine reads stands in the manifest or the sidecar, and is what was checked."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edge_ad.bundle import Bundle, find_engine, write_bundle
from edge_ad.bundle.engines import fits
from edge_ad.cli import main
from edge_ad.errors import BundleError
from edge_ad.runtime import build_engine, open_engine
from edge_ad.runtime.engines import engine_key
from edge_ad.runtime.openvino.api import openvino_api
from tests.runtime.tiny_bundle import SIZE_HW, deploy_graph, tiny_bundle

BACKENDS = ("openvino", "onnxruntime")


def bundle_of(root: Path, graph: bytes) -> Bundle:
    manifest = tiny_bundle(root).manifest
    return write_bundle(root, manifest, {"model.onnx": graph})


def with_weights_beside(root: Path) -> Bundle:
    model = onnx.load_from_string(deploy_graph())
    onnx.save(model, root.parent / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    bundle = bundle_of(root, (root.parent / "m.onnx").read_bytes())
    (root / "weights.bin").write_bytes((root.parent / "weights.bin").read_bytes())
    return bundle


def endless() -> bytes:
    """A deploy graph whose score goes through a loop that never ends."""
    model = onnx.load_from_string(deploy_graph())
    flag = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["before"], ["go_on"]),
            helper.make_node("Identity", ["carried"], ["carried_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("before", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [flag, helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, None)],
    )
    model.graph.node[-1].output[0] = "first_score"
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["", "yes", "first_score"], ["score"], body=body))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_outside_the_hashes_of_a_bundle_are_not_read(tmp_path: Path, backend: str) -> None:
    made = with_weights_beside(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"model\.onnx holds weights in another file"):
        Bundle.open(made.root)
    with pytest.raises(BundleError, match="weights in another file"), open_engine(made, backend=backend):
        pass  # also where the bundle was opened before it was changed


def test_every_verb_refuses_weights_outside_the_hashes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = str(with_weights_beside(tmp_path / "bundle").root)
    commands = (
        ["inspect", root],
        ["verify", root],
        ["benchmark", root],
        ["build-engine", root],
        ["evaluate", root, "--data", str(tmp_path)],
        ["stream", "--bundle", root, "--source", str(tmp_path), "--headless"],
    )
    codes = [main(command) for command in commands]
    assert codes[0] == 1
    assert 0 not in codes
    assert "weights in another file" in capfd.readouterr().err


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_never_ends_is_refused_before_it_runs(tmp_path: Path, backend: str) -> None:
    onnx.checker.check_model(endless())
    made = bundle_of(tmp_path / "bundle", endless())
    with pytest.raises(BundleError, match="control flow"):
        Bundle.open(made.root)
    with pytest.raises(BundleError, match="control flow"), open_engine(made, backend=backend):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_that_changed_after_its_bundle_was_opened_is_not_run(bundle: Bundle, backend: str) -> None:
    engine = open_engine(bundle, backend=backend)
    bundle.graph_path("fp32").write_bytes(deploy_graph(seed=7))
    with pytest.raises(BundleError, match=r"model\.onnx was changed"), engine:
        pass


def _unrecord(bundle: Bundle, name: str) -> Path:
    (path,) = bundle.root.glob("engines/*/engine.json")
    sidecar: dict[str, Any] = json.loads(path.read_bytes())
    del sidecar["files"][name]
    path.write_text(json.dumps(sidecar))
    return path.parent


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("openvino", "model.blob"),
        ("openvino", "model.xml"),
        ("openvino", "model.bin"),
        ("onnxruntime", "model.ort"),
    ],
)
def test_a_file_that_the_sidecar_does_not_record_is_not_read(bundle: Bundle, backend: str, name: str) -> None:
    build_engine(bundle, backend=backend)
    _unrecord(bundle, name)
    frames = np.zeros((2, *SIZE_HW, 3), np.uint8)
    with pytest.raises(BundleError, match=f"no SHA-256 for {name}"), open_engine(bundle, backend=backend) as engine:
        engine.infer(frames)  # a batch of two: OpenVINO reads its other files then


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_built_file_that_changed_after_it_was_checked_is_not_run(bundle: Bundle, backend: str) -> None:
    built = build_engine(bundle, backend=backend)
    engine = open_engine(bundle, backend=backend)
    name = "model.blob" if backend == "openvino" else "model.ort"
    (built.path / name).write_bytes((built.path / name).read_bytes() + b"\0")
    with pytest.raises(BundleError, match=rf"{name} was changed"), engine:
        pass


def test_a_list_of_layers_that_the_sidecar_does_not_record_is_not_shown(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build_engine(bundle, backend="onnxruntime")
    (built.path / "layers.json").write_text('[{"name": "made up", "type": "x"}]')
    assert main(["inspect", str(bundle.root), "--layers"]) == 0
    assert "made up" not in capsys.readouterr().out
    assert find_engine(bundle, engine_key("onnxruntime", "fp32")) == built


def _swap_built(bundle: Bundle, contents: dict[str, bytes]) -> None:
    (path,) = bundle.root.glob("engines/*/engine.json")
    sidecar: dict[str, Any] = json.loads(path.read_bytes())
    for name, content in contents.items():
        (path.parent / name).write_bytes(content)
        sidecar["files"][name] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(sidecar))


def test_a_loop_in_an_engine_of_onnx_runtime_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    build_engine(bundle, backend="onnxruntime")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loop.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(endless(), options, providers=["CPUExecutionProvider"])
    _swap_built(bundle, {"model.ort": (tmp_path / "loop.ort").read_bytes()})
    with pytest.raises(BundleError, match="control flow"), open_engine(bundle, backend="onnxruntime"):
        pass


def test_a_loop_in_an_engine_of_openvino_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    openvino = openvino_api()
    build_engine(bundle, backend="openvino")
    core = openvino.Core()
    model = core.read_model(endless())
    openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)
    _swap_built(bundle, {name: (tmp_path / name).read_bytes() for name in ("model.xml", "model.bin")})
    with open_engine(bundle, backend="openvino") as engine, pytest.raises(BundleError, match="control flow"):
        engine.infer(np.zeros((2, *SIZE_HW, 3), np.uint8))
    model.reshape({"image": [1, *SIZE_HW, 3]})
    blob = core.compile_model(model, "CPU").export_model()
    _swap_built(bundle, {"model.blob": blob if isinstance(blob, bytes) else blob.getvalue()})
    with pytest.raises(BundleError, match="control flow"), open_engine(bundle, backend="openvino"):
        pass


@pytest.mark.parametrize("target", ["sm80²plus", "sm" + "8" * 5000 + "plus", "sm٣plus"])
def test_a_target_that_is_no_number_fits_no_machine(target: str) -> None:
    assert not fits(target, "sm86")
