"""Choosing a backend and a precision, and refusing engine directories that do not fit."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge_ad.bundle import Bundle, list_engines
from edge_ad.errors import BundleError, DeviceError, MissingDependencyError, StorageError, UsageError
from edge_ad.export.build import build_engines
from edge_ad.runtime import build_engine, choose_backend, open_engine, probe
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.engines import engine_key, opened_engine
from edge_ad.runtime.openvino import engine as openvino_engine
from edge_ad.runtime.openvino.api import openvino_core
from edge_ad.runtime.openvino.engine import OpenVinoEngine
from edge_ad.runtime.verification import check_opens
from edge_ad.storage import sha256_file
from tests.runtime.tiny_bundle import SIZE_HW, deploy_graph, graph_info, threshold, tiny_bundle

BACKENDS = ("openvino", "onnxruntime")


def edit_sidecar(bundle: Bundle, edit: Callable[[dict[str, Any]], None]) -> None:
    (path,) = bundle.root.glob("engines/*/engine.json")
    sidecar = json.loads(path.read_bytes())
    edit(sidecar)
    path.write_text(json.dumps(sidecar))


def pretend_missing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def missing() -> str:
        raise MissingDependencyError("it cannot be imported (no such module).")

    for name in names:
        monkeypatch.setattr(f"edge_ad.runtime.{name}.backend.{name}_version", missing)


def pretend_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(backend: str) -> str:
        raise MissingDependencyError(f"{backend} is not installed.", f"Install it: pip install {backend}")

    monkeypatch.setattr("edge_ad.runtime.tensorrt.backend.tensorrt_version", missing)
    monkeypatch.setattr("edge_ad.runtime.tensorrt.backend.has_gpu", lambda: False)


def test_probe_reports_what_is_installed() -> None:
    found = {status.name: status for status in probe()}
    assert found["openvino"].available
    assert importlib.metadata.version("openvino") == found["openvino"].version
    assert found["onnxruntime"].version == onnxruntime.__version__
    assert found["openvino"].can_build
    assert found["onnxruntime"].can_build


def test_auto_takes_openvino_and_says_what_it_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_no_tensorrt(monkeypatch)
    name, reason = choose_backend("auto")
    assert name == "openvino"
    assert "tensorrt: tensorrt is not installed, and there is no NVIDIA GPU to run it" in reason


def test_auto_falls_back_to_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_missing(monkeypatch, "openvino")
    name, reason = choose_backend("auto")
    assert name == "onnxruntime"
    assert "openvino: it cannot be imported" in reason


def test_without_any_backend_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_missing(monkeypatch, *BACKENDS)
    with pytest.raises(DeviceError, match="pip install onnxruntime"):
        choose_backend("auto")


def test_a_missing_backend_is_exit_code_3_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_missing(monkeypatch, "openvino")
    with pytest.raises(DeviceError, match="pip install openvino") as caught:
        choose_backend("openvino")
    assert caught.value.exit_code == 3


def test_tensorrt_without_a_gpu_is_refused_with_the_way_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_no_tensorrt(monkeypatch)
    with pytest.raises(DeviceError, match=r"no NVIDIA GPU to run it\. Use --backend auto") as caught:
        open_engine(bundle, backend="tensorrt")
    assert caught.value.exit_code == 3


def test_an_unknown_backend_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Choose one of: auto, tensorrt, tensorrt-rtx, openvino, onnxruntime"):
        choose_backend("coreml")


def test_a_precision_that_is_not_there_names_the_command(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"edge-ad calibrate .* --precision int8"):
        open_engine(bundle, precision="int8")
    with pytest.raises(UsageError, match="int4"):
        open_engine(bundle, precision="int4")


def test_negative_threads_are_a_usage_error(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="-1"):
        open_engine(bundle, threads=-1)


class _ListeningCore:
    """OpenVINO's core; keeps the settings that it is asked to compile or load with."""

    def __init__(self) -> None:
        self.settings: list[dict[str, Any]] = []

    def compile_model(self, model: Any, device: str, settings: dict[str, Any]) -> Any:
        self.settings.append(settings)
        return openvino_core().compile_model(model, device, settings)

    def import_model(self, content: bytes, device: str, settings: dict[str, Any]) -> Any:
        self.settings.append(settings)
        return openvino_core().import_model(content, device, settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(openvino_core(), name)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> _ListeningCore:
    listening = _ListeningCore()
    monkeypatch.setattr(openvino_engine, "openvino_core", lambda: listening)
    return listening


@pytest.mark.parametrize("built", [False, True], ids=["in memory", "directory"])
@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_is_given_the_threads_and_computes_in_f32(
    bundle: Bundle, core: _ListeningCore, built: bool, threads: int
) -> None:
    if built:
        build_engine(bundle, backend="openvino")
    core.settings.clear()
    with open_engine(bundle, backend="openvino", threads=threads) as engine:
        list(engine.infer_many([np.zeros((1, *SIZE_HW, 3), np.uint8)] * 3))
    one, many = core.settings
    assert one["INFERENCE_NUM_THREADS"] == many["INFERENCE_NUM_THREADS"] == many["NUM_STREAMS"] == threads
    assert {settings["INFERENCE_PRECISION_HINT"] for settings in core.settings} == {"f32"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_built_engine_is_found_and_recorded(bundle: Bundle, backend: str) -> None:
    built, target = build_engine(bundle, backend=backend), engine_key(backend, "fp32").target
    assert built.path == bundle.root / "engines" / f"{backend}-fp32-{engine_key(backend, 'fp32').target}"
    assert built.sidecar.onnx_sha256 == bundle.manifest.files["model.onnx"]
    assert built.sidecar.target == target
    assert built.sidecar.threshold == threshold()
    assert set(built.sidecar.files) == {path.name for path in built.path.iterdir()} - {"engine.json"}
    assert list_engines(Bundle.open(bundle.root)) == [built]
    engine = open_engine(Bundle.open(bundle.root), backend=backend)
    assert engine.describe().source == f"engines/{built.path.name}"


def test_a_missing_engine_is_built_in_memory_and_says_so(bundle: Bundle) -> None:
    build_engine(bundle, backend="onnxruntime")
    assert open_engine(bundle, backend="openvino").describe().source == "model.onnx, built in memory"


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_of_a_replaced_graph_is_refused(bundle: Bundle, backend: str) -> None:
    build_engine(bundle, backend=backend)
    bundle = bundle.with_graph("fp32", graph_info(), {"model.onnx": deploy_graph(seed=7)})
    with pytest.raises(BundleError, match="another graph") as caught:
        open_engine(bundle, backend=backend)
    assert caught.value.hint == (f"Rebuild it: edge-ad build-engine {bundle.root} --backend {backend} --precision fp32")
    build_engine(bundle, backend=backend)
    open_engine(bundle, backend=backend)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "tensorrt"}, "holds a tensorrt engine"),
        ({"schema_version": 2}, "reads up to version 1"),
        ({"surprise": 1}, "surprise"),
        ({"options": 3}, "options"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused(bundle: Bundle, change: dict[str, Any], words: str) -> None:
    build_engine(bundle, backend="onnxruntime")
    edit_sidecar(bundle, lambda sidecar: sidecar.update(change))
    with pytest.raises(BundleError, match=words):
        open_engine(bundle, backend="onnxruntime")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend_version": "1.0.0"}, "was built by {backend} 1.0.0"),
        ({"target": "aarch64-neon"}, "was built for aarch64-neon, and this machine is {target}"),
    ],
)
def test_the_graph_is_compiled_where_the_engine_is_of_another_machine(
    bundle: Bundle, backend: str, change: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    build_engine(bundle, backend=backend)
    edit_sidecar(bundle, lambda sidecar: sidecar.update(change))
    with open_engine(bundle, backend=backend) as engine:
        assert engine.describe().source == "model.onnx, built in memory"
        assert len(engine.infer(np.zeros((1, *SIZE_HW, 3), np.uint8))) == 1
    assert words.format(backend=backend, target=engine_key(backend, "fp32").target) in caplog.text
    assert len(caplog.records) == 1


def _spoil(bundle: Bundle) -> None:
    """Engine files that no backend loads, as if another processor had made them; the sidecar records them."""
    (folder,) = bundle.root.glob("engines/*")
    for name in ("model.blob", "model.ort"):
        if (folder / name).is_file():
            (folder / name).write_bytes(b"what another processor made")
    files = {path.name: sha256_file(path) for path in folder.iterdir() if path.name != "engine.json"}
    edit_sidecar(bundle, lambda sidecar: sidecar.update(files=files))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_that_does_not_load_is_compiled_from_its_graph(
    bundle: Bundle, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), np.uint8)
    build_engine(bundle, backend=backend)
    with open_engine(bundle, backend=backend) as engine:
        expected = engine.infer(frames)[0].score
    _spoil(bundle)
    with open_engine(bundle, backend=backend) as engine:
        assert engine.describe().source == "model.onnx, built in memory"
        assert engine.infer(frames)[0].score == pytest.approx(expected, abs=1e-5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "graph is compiled instead" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_an_engine_that_loads_here_is_up_to_date(bundle: Bundle, backend: str) -> None:
    said: list[str] = []
    build_engines(bundle.root, backend=backend, precisions=["fp32"], log=said.append)
    build_engines(bundle.root, backend=backend, precisions=["fp32"], log=said.append)
    _spoil(bundle)
    (built,) = build_engines(bundle.root, backend=backend, precisions=["fp32"], log=said.append)
    assert sum("up to date" in text for text in said) == 1
    assert not built.was_current
    assert any("does not load here" in text for text in said)
    check_opens(bundle, backend, "fp32", "built")


def test_auto_goes_on_to_the_next_backend_when_one_cannot_compile(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cannot(engine: OpenVinoEngine) -> None:
        raise DeviceError("OpenVINO could not compile the graph: bad combination.")

    pretend_no_tensorrt(monkeypatch)
    monkeypatch.setattr(OpenVinoEngine, "_open", cannot)
    with opened_engine(bundle) as engine:
        assert engine.describe().backend == "onnxruntime"
    assert "openvino cannot be used" in caplog.text
    with pytest.raises(DeviceError, match="bad combination"), opened_engine(bundle, backend="openvino"):
        pass


def test_instruction_set_is_the_one_that_openvino_is_held_to() -> None:
    program = "from edge_ad.runtime.engines import engine_key; print(engine_key('openvino', 'fp32').target)"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "SSE41"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("ONEDNN_MAX_CPU_ISA is for x86")
    assert run.stdout.strip() == "x86_64-sse4-1"


def test_an_engine_with_a_stale_threshold_is_refused(bundle: Bundle) -> None:
    build_engine(bundle, backend="onnxruntime")
    moved = graph_info().model_copy(update={"threshold": threshold(0.7)})
    with pytest.raises(BundleError, match="another threshold"):
        open_engine(bundle.with_graph("fp32", moved, {}), backend="onnxruntime")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_changed_byte_of_an_engine_is_refused(bundle: Bundle, backend: str) -> None:
    built = build_engine(bundle, backend=backend)
    for name in built.sidecar.files:
        path = built.path / name
        original = path.read_bytes()
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"{name} was changed or damaged"):
            open_engine(bundle, backend=backend)
        path.write_bytes(original)
    open_engine(bundle, backend=backend)


def test_another_patch_version_of_openvino_compiles_again(bundle: Bundle) -> None:
    build_engine(bundle, backend="openvino")
    with open_engine(bundle, backend="openvino") as engine:
        expected = engine.infer(np.full((1, *SIZE_HW, 3), 9, np.uint8))[0].score

    def older_patch(sidecar: dict[str, Any]) -> None:
        sidecar["backend_version"] = sidecar["backend_version"].rsplit(".", 1)[0] + ".99"

    edit_sidecar(bundle, older_patch)
    with open_engine(bundle, backend="openvino") as engine:
        assert engine.infer(np.full((1, *SIZE_HW, 3), 9, np.uint8))[0].score == pytest.approx(expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("graph", [deploy_graph(output="heat_map"), b"not an onnx file"], ids=["names", "garbage"])
def test_a_graph_that_is_no_deploy_graph_leaves_no_engine(bundle: Bundle, backend: str, graph: bytes) -> None:
    bundle = bundle.with_graph("fp32", graph_info(), {"model.onnx": graph})
    with pytest.raises((BundleError, DeviceError), match=r"model\.onnx"):
        build_engine(bundle, backend=backend)
    assert list(bundle.root.glob("engines/*")) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_of_another_size_is_refused(bundle: Bundle, backend: str) -> None:
    manifest = bundle.manifest.model_copy(update={"input_size_hw": (48, 32)})
    with (
        pytest.raises(BundleError, match=r"not \(N, 48, 32, 3\)"),
        open_engine(Bundle(bundle.root, manifest), backend=backend),
    ):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_saved_engine_that_answers_differently_is_not_kept(
    bundle: Bundle, backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tiny_bundle(tmp_path / "other", seed=5)
    kind = type(get_backend(backend))
    build = kind.build
    monkeypatch.setattr(kind, "build", lambda self, source, folder: build(self, EngineSource.of(other, "fp32"), folder))
    with pytest.raises(DeviceError, match="differs from its graph"):
        build_engine(bundle, backend=backend)
    assert list(bundle.root.glob("engines/*")) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_disk_is_a_storage_error_and_leaves_no_engine(tmp_path: Path, backend: str) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    engines = bundle.root / "engines"
    engines.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(engines)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(StorageError, match="disk is full"):
            build_engine(bundle, backend=backend)
        assert list(engines.iterdir()) == []
    finally:
        subprocess.run(["umount", str(engines)], check=True)
