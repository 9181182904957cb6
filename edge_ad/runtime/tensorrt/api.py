"""Importing TensorRT and CUDA's driver interface, or saying in one line what is missing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edge_ad.errors import DeviceError, MissingDependencyError

__all__ = ["Backend", "cuda_driver", "device_target", "install_command", "tensorrt_module", "tensorrt_version"]

Backend = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: Mapping[Backend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DISTRIBUTIONS: Mapping[Backend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx-cu13"}
_JETSON_RELEASE = Path("/etc/nv_tegra_release")
_PYCUDA_COMMAND = "pip install pycuda"
_DEVICE_INDEX = 0  # CUDA_VISIBLE_DEVICES chooses another


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
        raise _broken(backend, str(error)) from error
    except (ImportError, OSError, RuntimeError) as error:  # a wheel without libnvinfer, or with one of another version
        raise _broken(backend, str(error)) from error
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
    except ModuleNotFoundError as error:
        raise MissingDependencyError("pycuda is not installed.", f"Install it: {_PYCUDA_COMMAND}") from error
    except ImportError as error:
        raise _no_driver(error) from error
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise _no_driver(error) from error
    if count <= _DEVICE_INDEX:
        raise DeviceError("No NVIDIA GPU can be used: CUDA finds none.", "Run: nvidia-smi")
    return driver


def device_target() -> str:
    """Name of the engine target of the CUDA device, such as ``"sm87"``.

    Raises:
        MissingDependencyError: pycuda is not installed.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    driver = cuda_driver()
    try:
        major, minor = driver.Device(_DEVICE_INDEX).compute_capability()
    except driver.Error as error:
        raise _no_driver(error) from error
    return f"sm{major}{minor}"


def _broken(backend: Backend, reason: str) -> MissingDependencyError:
    name = _DISTRIBUTIONS[backend]
    line = " ".join(reason.split())
    return MissingDependencyError(
        f"{name} is installed and does not load ({line}).", f"Install it again: {_reinstall_command(backend)}"
    )


def _reinstall_command(backend: Backend) -> str:
    return install_command(backend).replace(
        "install ", "install --reinstall " if "apt" in install_command(backend) else "install --force-reinstall "
    )


def _no_driver(error: Exception) -> DeviceError:
    line = " ".join(str(error).split())
    return DeviceError(f"No NVIDIA GPU can be used: the driver does not answer ({line}).", "Run: nvidia-smi")
