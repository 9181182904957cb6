"""Importing TensorRT and CUDA's driver interface, or saying in one line what is missing."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edge_ad.errors import DeviceError, MissingDependencyError

__all__ = [
    "DEVICE_INDEX",
    "Backend",
    "cuda_driver",
    "device_name",
    "device_target",
    "has_gpu",
    "install_command",
    "tensorrt_module",
    "tensorrt_version",
]

Backend = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: Mapping[Backend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DISTRIBUTIONS: Mapping[Backend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx-cu13"}
_JETSON_RELEASE = Path("/etc/nv_tegra_release")
_PYCUDA_COMMAND = "pip install pycuda"
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA_PCI_VENDOR = "0x10de"

DEVICE_INDEX = 0
"""The device that is used; ``CUDA_VISIBLE_DEVICES`` puts another one there."""

_DRIVER_COMMAND = "sudo ubuntu-drivers install"


def tensorrt_module(backend: Backend) -> Any:
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
    except (ImportError, OSError, RuntimeError) as error:  # a wheel without libnvinfer, or with one of another version
        raise _broken(backend, error) from error
    if not hasattr(module, "Builder"):  # a folder of that name, or a wheel that was to fetch the rest and could not
        raise _broken(backend, "it has no Builder")
    return module


def tensorrt_version(backend: Backend) -> str:
    """Full version of the installed TensorRT, such as ``"10.3.0"``.

    Raises:
        MissingDependencyError: It is not installed or does not load.
    """
    return str(tensorrt_module(backend).__version__)


def install_command(backend: Backend) -> str:
    """The command that installs a backend here."""
    if backend == "tensorrt" and _JETSON_RELEASE.exists():  # JetPack's own; the wheels are for other machines
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
        if not _has_driver_library():  # then pycuda would not help
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
    return "Use a machine with an NVIDIA GPU, or --backend auto, which takes a backend that works here."


def _broken(backend: Backend, reason: object) -> MissingDependencyError:
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
