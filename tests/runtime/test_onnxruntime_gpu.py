"""ONNX Runtime's providers for NVIDIA GPUs: what is asked of ONNX Runtime, on its genuine sessions on the CPU."""

import importlib.machinery
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge_ad.cli import main
from edge_ad.errors import DeviceError, UsageError
from edge_ad.runtime import choose_backend, open_engine
from edge_ad.runtime.backend import get_backend, probe_backend
from edge_ad.runtime.onnxruntime import gpu as gpu_module
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle

CUDA, RTX, CPU = "CUDAExecutionProvider", "NvTensorRTRTXExecutionProvider", "CPUExecutionProvider"
PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


class FakeOptions(onnxruntime.SessionOptions):  # type: ignore[misc]
    """The genuine options, which keep the devices that were added."""

    devices: tuple[Any, ...] = ()

    def add_provider_for_devices(self, devices: Any, options: dict[str, str]) -> None:
        assert options == {}
        assert {device.ep_name for device in devices} == {RTX}
        self.devices = tuple(devices)


class FakeOnnxRuntime(ModuleType):
    """ONNX Runtime on a machine with GPUs: its sessions run on the CPU and say that they do not."""

    SessionOptions = FakeOptions

    def __init__(self, *, rtx_gpus: int = 2, libraries_load: bool = True) -> None:
        super().__init__("onnxruntime")
        self.rtx_gpus, self.libraries_load = rtx_gpus, libraries_load
        self.registered: list[tuple[str, str]] = []
        self.sessions: list[tuple[Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def get_available_providers(self) -> list[str]:
        return [CUDA, CPU]

    def register_execution_provider_library(self, name: str, path: str) -> None:
        if not self.libraries_load:
            raise RuntimeError("libcudart.so.13: cannot open\nshared object file")
        assert name not in dict(self.registered), "a library is registered once for a process"
        self.registered.append((name, path))

    def get_ep_devices(self) -> list[Any]:
        found = [SimpleNamespace(ep_name=CPU)]
        return [*found, *(SimpleNamespace(ep_name=RTX) for _ in range(self.rtx_gpus if self.registered else 0))]

    def InferenceSession(self, content: bytes, options: FakeOptions, providers: Any = None) -> Any:  # noqa: N802
        self.sessions.append((options, providers))
        session = onnxruntime.InferenceSession(content, options, providers=[CPU])
        wanted = [RTX] if options.devices else [one[0] if isinstance(one, tuple) else one for one in providers]
        session.get_providers = lambda: wanted if self.libraries_load else [CPU]
        return session


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeOnnxRuntime]:
    """Put the double, the plugin and a driver where they are looked for."""

    def call(**settings: Any) -> FakeOnnxRuntime:
        runtime, plugin = FakeOnnxRuntime(**settings), ModuleType(PLUGIN)
        plugin.get_library_path = lambda: "/plugin.so"  # type: ignore[attr-defined]
        plugin.__spec__ = importlib.machinery.ModuleSpec(PLUGIN, None)
        monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
        monkeypatch.setitem(sys.modules, PLUGIN, plugin)
        monkeypatch.setattr(gpu_module, "has_driver_library", lambda: True)
        return runtime

    return call


def test_the_genuine_onnxruntime_has_what_is_asked_of_it() -> None:
    names = ("register_execution_provider_library", "get_ep_devices", "get_available_providers", "InferenceSession")
    assert [name for name in names if not hasattr(onnxruntime, name)] == []
    assert hasattr(onnxruntime.SessionOptions, "add_provider_for_devices")
    assert all(isinstance(device.ep_name, str) for device in onnxruntime.get_ep_devices())


@pytest.mark.parametrize("backend", ["onnxruntime-cuda", "onnxruntime-rtx"])
def test_it_gives_the_graphs_numbers_and_is_never_chosen_by_itself(
    install: Callable[..., FakeOnnxRuntime], tmp_path: Path, backend: str
) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    frames = np.random.default_rng(0).integers(0, 256, (5, *SIZE_HW, 3), dtype=np.uint8)
    with open_engine(bundle, backend="onnxruntime") as engine:
        expected = [one.score for one in engine.infer(frames)]
    runtime = install()
    assert probe_backend(backend).available
    assert choose_backend("auto")[0] not in ("onnxruntime-cuda", "onnxruntime-rtx")
    for _ in range(2):
        with open_engine(bundle, backend=backend) as engine:
            assert [one.score for one in engine.infer(frames)] == expected
            assert [one.score for one in engine.infer_many(frames[:, None])] == expected
            assert engine.describe().device == "GPU: NVIDIA"
    options, providers = runtime.sessions[-1]
    if backend == "onnxruntime-cuda":
        assert providers == [(CUDA, {"device_id": "0", "use_tf32": "0"}), CPU]
        assert runtime.registered == []
    else:
        assert providers is None
        assert len(options.devices) == 1  # the first of two
        assert runtime.registered == [(RTX, "/plugin.so")]


def test_a_provider_that_fell_back_to_the_cpu_is_refused(
    install: Callable[..., FakeOnnxRuntime], tmp_path: Path
) -> None:
    install(libraries_load=False)
    bundle = tiny_bundle(tmp_path / "bundle")
    with (
        pytest.raises(DeviceError, match="does not use CUDAExecutionProvider here, but CPUExecutionProvider"),
        open_engine(bundle, backend="onnxruntime-cuda"),
    ):
        pass
    with (
        pytest.raises(DeviceError, match="cannot load NvTensorRTRTXExecutionProvider: libcudart") as caught,
        open_engine(bundle, backend="onnxruntime-rtx"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_machine_without_an_rtx_gpu_is_told_so(install: Callable[..., FakeOnnxRuntime], tmp_path: Path) -> None:
    install(rtx_gpus=0)
    bundle = tiny_bundle(tmp_path / "bundle")
    with (
        pytest.raises(DeviceError, match="finds no GPU that it supports"),
        open_engine(bundle, backend="onnxruntime-rtx"),
    ):
        pass


def test_there_is_nothing_to_build(install: Callable[..., FakeOnnxRuntime], tmp_path: Path) -> None:
    install()
    with pytest.raises(UsageError, match="there is nothing to build"):
        get_backend("onnxruntime-rtx").build(None, tmp_path)  # type: ignore[arg-type]


def test_what_is_missing_is_said_with_a_command_where_it_helps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, PLUGIN, None)
    expected = {
        "onnxruntime-cuda": ("the installed onnxruntime has no CUDA provider", "onnxruntime-gpu"),
        "onnxruntime-rtx": ("onnxruntime-ep-nv-tensorrt-rtx is not installed", "onnxruntime-ep-nv-tensorrt-rtx"),
    }
    for gpu in (False, True):
        monkeypatch.setattr(gpu_module, "has_gpu", lambda gpu=gpu: gpu)
        assert main(["doctor", "--json"]) == 0
        backends = {one["name"]: one for one in json.loads(capsys.readouterr().out)["backends"]}
        for name, (why, package) in expected.items():
            assert backends[name]["why"] == why
            assert backends[name]["install_command"] == (f"pip install {package}" if gpu else "")
