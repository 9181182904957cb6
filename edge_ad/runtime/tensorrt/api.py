"""Imports TensorRT and CUDA's driver interface, or reports in one line what is missing."""

from __future__ import annotations

import ctypes
import importlib
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edge_ad.errors import DeviceError, EdgeAdError, MissingDependencyError

__all__ = [
    "DEVICE_INDEX",
    "CudaCallError",
    "TensorRtName",
    "create_log",
    "cuda_driver",
    "device_name",
    "device_target",
    "has_gpu",
    "install_command",
    "lost_device",
    "release_frames",
    "tensorrt_module",
    "tensorrt_version",
    "translate",
]

TensorRtName = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: Mapping[TensorRtName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DISTRIBUTIONS: Mapping[TensorRtName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx-cu13"}
_JETSON_RELEASE = Path("/etc/nv_tegra_release")
_PYCUDA_COMMAND = "pip install pycuda"
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA_PCI_VENDOR = "0x10de"

DEVICE_INDEX = 0
"""The device that is used; ``CUDA_VISIBLE_DEVICES`` puts another one there."""

_DRIVER_COMMAND = "sudo ubuntu-drivers install"


def tensorrt_module(backend: TensorRtName) -> Any:
    """The module ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        MissingDependencyError: It is not installed, or installed without the libraries that it loads.
    """
    name = _MODULES[backend]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise MissingDependencyError(
                f"{name} is not installed.", f"Install it: {install_command(backend)}"
            ) from error
        raise _broken(backend, error) from error
    except (ImportError, OSError, RuntimeError) as error:  # a wheel without libnvinfer, or with another version of it
        raise _broken(backend, error) from error
    if not hasattr(module, "Builder"):  # a folder of that name, or a wheel that could not fetch the rest
        raise _broken(backend, "it has no Builder")
    return module


def tensorrt_version(backend: TensorRtName) -> str:
    """Full version of the installed TensorRT, such as ``"10.3.0"``.

    Raises:
        MissingDependencyError: It is not installed or does not load.
    """
    return str(tensorrt_module(backend).__version__)


def install_command(backend: TensorRtName) -> str:
    """The command that installs a backend here."""
    if backend == "tensorrt" and _JETSON_RELEASE.exists():  # JetPack has its own; the wheels are for other machines
        return "sudo apt install python3-libnvinfer"
    return f"pip install {_DISTRIBUTIONS[backend]}"


def cuda_driver() -> Any:
    """The module ``pycuda.driver``, initialised.

    Raises:
        MissingDependencyError: pycuda is not installed.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    try:
        driver = importlib.import_module("pycuda.driver")
    except ImportError as error:
        if not _has_driver_library():  # pycuda would not help
            raise DeviceError("There is no NVIDIA driver.", _driver_hint()) from error
        if isinstance(error, ModuleNotFoundError):
            raise MissingDependencyError("pycuda is not installed.", f"Install it: {_PYCUDA_COMMAND}") from error
        raise MissingDependencyError(
            f"pycuda is installed and does not load ({_one_line(error)}).",
            "Install it again: pip install --force-reinstall --no-cache-dir pycuda",
        ) from error
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise _silent(error) from error
    if count <= DEVICE_INDEX:
        raise DeviceError("CUDA finds no GPU.", "See what the driver finds: nvidia-smi")
    return driver


def device_target() -> str:
    """Name of the engine target of the CUDA device, such as ``"sm87"``.

    Raises:
        MissingDependencyError: pycuda is not installed.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    driver = cuda_driver()
    try:
        major, minor = driver.Device(DEVICE_INDEX).compute_capability()
    except driver.Error as error:
        raise _silent(error) from error
    return f"sm{major}{minor}"


def device_name() -> str:
    """Name of the CUDA device, such as ``"Orin"``.

    Raises:
        MissingDependencyError: pycuda is not installed.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    driver = cuda_driver()
    try:
        return str(driver.Device(DEVICE_INDEX).name())
    except driver.Error as error:
        raise _silent(error) from error


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU, with its driver or without."""
    return _has_driver_library() or _has_pci_gpu()


def _has_driver_library() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _has_pci_gpu() -> bool:
    return _NVIDIA_PCI_VENDOR in (path.read_text().strip() for path in _PCI_DEVICES.glob("*/vendor"))


def _driver_hint() -> str:
    if _has_pci_gpu():
        return f"Install it: {_DRIVER_COMMAND}"
    return "Use a machine with an NVIDIA GPU, or --backend auto, which picks a backend that works here."


def _broken(backend: TensorRtName, reason: object) -> MissingDependencyError:
    command = install_command(backend)
    again = "--reinstall" if command.startswith("sudo apt") else "--force-reinstall"
    return MissingDependencyError(
        f"{_DISTRIBUTIONS[backend]} is installed and does not load ({_one_line(reason)}).",
        f"Install it again: {command.replace(' install ', f' install {again} ')}",
    )


def _silent(error: Exception) -> DeviceError:
    return DeviceError(
        f"The NVIDIA driver does not answer ({_one_line(error)}).", "See what the driver finds: nvidia-smi"
    )


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())


_LOST_HINT = "Look at nvidia-smi and dmesg, then start again."


class CudaCallError(RuntimeError):
    """A call through cuda-bindings failed."""


def translate(driver: Any, error: BaseException) -> tuple[BaseException, bool]:
    """The error for the caller after an exception on the owner thread, and whether the device is lost.

    Args:
        driver: ``pycuda.driver``.
        error: What was raised.

    Returns:
        The exception for the caller, and whether no later call can succeed: a CUDA device error is kept for as long as
        the context lives.
    """
    if isinstance(error, driver.MemoryError):
        message = f"The GPU has too little free memory ({one_line(error)})."
        return DeviceError(
            message, "Close other programs that use it, or build the engine with a smaller batch."
        ), False
    if isinstance(error, (driver.Error, CudaCallError)):
        return lost_device(one_line(error)), True
    return error, False


def lost_device(reason: str) -> DeviceError:
    """The error for a GPU that cannot be used any more."""
    return DeviceError(f"The GPU stopped working ({reason}).", _LOST_HINT)


def release_frames(error: BaseException | None) -> None:
    """Drop the local variables that an exception's traceback keeps alive.

    They may hold the last reference to a stream or to memory, which must die on the owner thread, in its context.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        release_frames(error.__cause__)
        error = error.__context__


def one_line(error: BaseException) -> str:
    """The message of an exception in one line."""
    if isinstance(error, EdgeAdError):
        return error.message
    return " ".join(str(error).split()) or type(error).__name__


_LOCATION = re.compile(r"(^(\d+: )?\[[\w.]+::[\w:]+\] )|(In \w+ at [\w./-]+:\d+ ?)")
"""Where in its own source TensorRT found an error."""


def create_log(trt: Any) -> Any:
    """An ``ILogger`` that keeps the first error since the last ``take_error()``, in one line, empty when none.

    The first is the cause; later ones are consequences, such as "Engine deserialization failed".

    Args:
        trt: The TensorRT module; the class cannot exist without it.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._error = ""

        def log(self, severity: Any, message: str) -> None:
            is_error = severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
            if is_error and not self._error:
                self._error = _LOCATION.sub("", " ".join(message.split()))

        def take_error(self) -> str:
            error, self._error = self._error, ""
            return error.rstrip(".")

    return Log()
