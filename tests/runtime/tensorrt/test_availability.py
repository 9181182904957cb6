"""What edge-ad says about TensorRT on a machine: what is missing, and the command that adds it."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edge_ad.cli import main
from edge_ad.errors import DeviceError, MissingDependencyError, UsageError
from edge_ad.runtime import choose_backend
from edge_ad.runtime.backend import probe_backend
from edge_ad.runtime.cuda import device
from edge_ad.runtime.tensorrt import api
from tests.runtime.tensorrt.conftest import Gpu
from tests.runtime.tensorrt.cuda_memory_double import CudaLaunchError


@pytest.fixture
def no_gpu(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gpu:
    """TensorRT is installed; there is no driver and no device."""
    gpu.install("pycuda.driver", None)
    gpu.install("tensorrt_rtx", gpu.trt)
    monkeypatch.setattr(device, "has_driver_library", lambda: False)
    monkeypatch.setattr(device, "_PCI_DEVICES", tmp_path)
    return gpu


def plug_in(monkeypatch: pytest.MonkeyPatch, folder: Path, vendor: str) -> None:
    """A PCI device of a vendor."""
    (folder / "0000:01:00.0").mkdir(parents=True)
    (folder / "0000:01:00.0" / "vendor").write_text(f"{vendor}\n")
    monkeypatch.setattr(device, "_PCI_DEVICES", folder)


def test_where_package_and_gpu_are_there_it_works_and_auto_takes_it(gpu: Gpu) -> None:
    status = probe_backend("tensorrt")
    assert (status.available, status.can_build, status.version) == (True, True, "10.3.0")
    name, reason = choose_backend("auto")
    assert name == "tensorrt"
    assert reason == "the first that runs on this GPU (Test GPU, sm87)"
    assert device.device_target() == "sm87"


def test_without_a_driver_tensorrt_can_do_nothing_and_rtx_can_build(no_gpu: Gpu) -> None:
    full, rtx = probe_backend("tensorrt"), probe_backend("tensorrt-rtx")
    assert (full.available, full.can_build, full.why) == (False, False, "no NVIDIA driver")
    assert (rtx.available, rtx.can_build, rtx.version) == (False, True, "10.3.0")
    assert rtx.why == "can build plans, cannot run here: no NVIDIA driver"
    assert full.install_command == rtx.install_command == ""  # no command brings a GPU
    with pytest.raises(DeviceError, match="cannot be used: can build plans, cannot run here") as caught:
        choose_backend("tensorrt-rtx")
    assert caught.value.exit_code == 3
    assert "tensorrt: no NVIDIA driver" in choose_backend("auto")[1]


def test_a_gpu_without_its_driver_gets_the_command(
    no_gpu: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plug_in(monkeypatch, tmp_path / "other", "0x8086")
    assert probe_backend("tensorrt").install_command == ""
    plug_in(monkeypatch, tmp_path / "nvidia", "0x10de")
    assert probe_backend("tensorrt").install_command == "sudo ubuntu-drivers install"


def test_a_driver_without_a_package_for_cuda_gets_the_command(no_gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_driver_library", lambda: True)
    no_gpu.install("cuda.bindings.driver", None)
    status = probe_backend("tensorrt")
    assert status.why == "Neither cuda-bindings nor pycuda is installed"
    assert status.install_command == "pip install cuda-bindings"
    with pytest.raises(MissingDependencyError):
        device.device_target()


@pytest.mark.parametrize(
    ("package", "module"), [("pycuda", "pycuda.driver"), ("cuda-bindings", "cuda.bindings.driver")]
)
def test_a_package_that_is_asked_for_and_missing_or_broken_gets_its_command(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, package: str, module: str
) -> None:
    monkeypatch.setenv(device.PACKAGE_VARIABLE, package)
    gpu.install(module, None)
    status = probe_backend("tensorrt")
    assert (status.why, status.install_command) == (f"{package} is not installed", f"pip install {package}")
    broken_import(monkeypatch, module, ImportError("libcurand.so.10: cannot open shared object file"))
    status = probe_backend("tensorrt")
    assert f"{package} is installed and does not load (libcurand.so.10" in status.why
    assert status.install_command == f"pip install --force-reinstall --no-cache-dir {package}"


def test_where_one_package_does_not_load_the_other_is_used(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"pycuda": "cuda.bindings.driver", "cuda-bindings": "pycuda.driver"}[gpu.package]
    broken_import(monkeypatch, broken, ImportError("libcurand.so.10: cannot open shared object file"))
    assert device.cuda_driver().name == gpu.package
    assert probe_backend("tensorrt").available


def test_pycuda_is_taken_where_both_are_there_unless_the_other_is_asked_for(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.install("pycuda.driver", gpu.cuda)
    assert device.cuda_driver().name == "pycuda"
    monkeypatch.setenv(device.PACKAGE_VARIABLE, "cuda-bindings")
    assert device.cuda_driver().name == "cuda-bindings"
    monkeypatch.setenv(device.PACKAGE_VARIABLE, "cupy")
    with pytest.raises(UsageError, match="EDGE_AD_CUDA names 'cupy'"):
        device.cuda_driver()


@pytest.mark.parametrize("call", ["init", "count"])
def test_a_driver_that_does_not_answer_or_finds_no_gpu_is_said(gpu: Gpu, call: str) -> None:
    if call == "init":
        gpu.cuda.fail_on("init", 0, CudaLaunchError("cuInit failed: no CUDA-capable device is detected"))
    else:
        gpu.cuda.device_count = 0
    status = probe_backend("tensorrt")
    assert not status.available
    assert ("no CUDA-capable device" in status.why) is (call == "init")
    assert status.install_command == "nvidia-smi"


def test_a_missing_package_is_named_with_its_command(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_import(monkeypatch, "tensorrt", ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt"))
    status = probe_backend("tensorrt")
    assert (status.why, status.install_command) == ("tensorrt is not installed", "pip install tensorrt")


def test_a_jetson_takes_tensorrt_from_jetpack(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nv_tegra_release").write_text("# R36")
    monkeypatch.setattr(api, "_JETSON_RELEASE", tmp_path / "nv_tegra_release")
    assert api.install_command("tensorrt") == "sudo apt install python3-libnvinfer"
    broken_import(monkeypatch, "tensorrt", OSError("libnvinfer.so.10: cannot open shared object file"))
    with pytest.raises(MissingDependencyError, match="sudo apt install --reinstall python3-libnvinfer"):
        api.tensorrt_module("tensorrt")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libnvinfer.so.10: cannot open shared object file: No such file or directory"),
        FileNotFoundError("Could not find: nvinfer_10.dll. Is it on your PATH?"),
        ModuleNotFoundError("No module named 'tensorrt_bindings'", name="tensorrt_bindings"),
        None,
    ],
)
def test_a_placeholder_without_its_libraries_is_installed_again(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    if error is None:
        gpu.install("tensorrt", ModuleType("tensorrt"))  # a wheel with nothing in it
    else:
        broken_import(monkeypatch, "tensorrt", error)
    with pytest.raises(MissingDependencyError, match="tensorrt is installed and does not load") as caught:
        api.tensorrt_module("tensorrt")
    assert caught.value.hint == "Install it again: pip install --force-reinstall tensorrt"
    assert "\n" not in str(caught.value)
    assert probe_backend("tensorrt").install_command == "pip install --force-reinstall tensorrt"


def test_doctor_shows_it_all(no_gpu: Gpu, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    backends = {backend["name"]: backend for backend in json.loads(capsys.readouterr().out)["backends"]}
    assert backends["tensorrt-rtx"]["can_build"] is True
    assert backends["tensorrt-rtx"]["available"] is False
    assert backends["tensorrt"]["can_build"] is False
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "can build plans, cannot run here: no NVIDIA driver" in shown
    assert "pip install tensorrt" not in shown  # of no use without a GPU


def broken_import(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Let the import of a module fail."""
    genuine = importlib.import_module

    def import_module(module: str) -> ModuleType:
        if module == name:
            raise error
        return genuine(module)

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(importlib, "import_module", import_module)
