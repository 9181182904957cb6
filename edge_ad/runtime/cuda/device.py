"""Finds the CUDA device and the package to use it with, or reports in one line what is missing."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_ad.errors import DeviceError, EdgeAdError, MissingDependencyError, UsageError
from edge_ad.runtime.cuda.cuda_bindings_driver import CudaBindingsDriver
from edge_ad.runtime.cuda.driver import DEVICE_INDEX, CudaDriver
from edge_ad.runtime.cuda.pycuda_driver import PycudaDriver

__all__ = [
    "CUDA_PACKAGES",
    "PACKAGE_VARIABLE",
    "cuda_driver",
    "device_name",
    "device_target",
    "has_driver_library",
    "has_gpu",
    "open_package",
]

PACKAGE_VARIABLE = "EDGE_AD_CUDA"
"""Environment variable that names the package to use; without it, the first that loads."""

_PACKAGES: Mapping[str, Callable[[], CudaDriver]] = {  # in the order in which they are tried
    "pycuda": PycudaDriver,  # nothing else brings it: it is there because somebody wants it
    "cuda-bindings": CudaBindingsDriver,
}
CUDA_PACKAGES = tuple(_PACKAGES)
"""Names of the packages that can be used."""

_MODULES = {"pycuda": {"pycuda", "pycuda.driver"}, "cuda-bindings": {"cuda", "cuda.bindings", "cuda.bindings.driver"}}
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA_PCI_VENDOR = "0x10de"
_DRIVER_COMMAND = "sudo ubuntu-drivers install"


def cuda_driver() -> CudaDriver:
    """The driver interface of the first package that loads, or of the one that ``EDGE_AD_CUDA`` names, initialised.

    Raises:
        MissingDependencyError: No such package is installed, or none loads.
        DeviceError: There is no NVIDIA driver, or no GPU.
        UsageError: ``EDGE_AD_CUDA`` names no such package.
    """
    chosen = os.environ.get(PACKAGE_VARIABLE, "")
    if chosen and chosen not in _PACKAGES:
        raise UsageError(
            f"{PACKAGE_VARIABLE} names {chosen!r}, and edge-ad uses CUDA through {' or '.join(CUDA_PACKAGES)}.",
            f"Set it to one of them, or leave {PACKAGE_VARIABLE} out.",
        )
    return open_package(chosen) if chosen else _first_that_loads()


def open_package(name: str) -> CudaDriver:
    """The driver interface of one package, initialised.

    Args:
        name: One of `CUDA_PACKAGES`.

    Raises:
        MissingDependencyError: It is not installed, or does not load.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    try:
        driver = _PACKAGES[name]()
    except ImportError as error:
        if not has_driver_library():  # the package would not help
            raise DeviceError("There is no NVIDIA driver.", _driver_hint()) from error
        raise _not_loaded(name, error) from error
    return _initialised(driver)


def device_target() -> str:
    """Name of the engine target of the CUDA device, such as ``"sm87"``.

    Raises:
        MissingDependencyError: No package for CUDA is installed.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    driver = cuda_driver()
    try:
        major, minor = driver.compute_capability()
    except driver.error as error:
        raise _silent(error) from error
    return f"sm{major}{minor}"


def device_name() -> str:
    """Name of the CUDA device, such as ``"Orin"``.

    Raises:
        MissingDependencyError: No package for CUDA is installed.
        DeviceError: There is no NVIDIA driver, or no GPU.
    """
    driver = cuda_driver()
    try:
        return driver.device_name()
    except driver.error as error:
        raise _silent(error) from error


def has_gpu() -> bool:
    """Whether there is an NVIDIA GPU, with its driver or without."""
    return has_driver_library() or _has_pci_gpu()


def has_driver_library() -> bool:
    """Whether the NVIDIA driver's library loads."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _first_that_loads() -> CudaDriver:
    failures: list[EdgeAdError] = []
    for name in _PACKAGES:
        try:
            return open_package(name)
        except MissingDependencyError as error:
            failures.append(error)
    broken = [error for error in failures if "does not load" in error.message]
    raise (
        broken[0]
        if broken
        else MissingDependencyError(
            "Neither cuda-bindings nor pycuda is installed.", "Install it: pip install cuda-bindings"
        )
    )


def _initialised(driver: CudaDriver) -> CudaDriver:
    try:
        driver.initialise()
        count = driver.count_devices()
    except driver.error as error:
        if not has_driver_library():  # cuda-bindings is imported without it
            raise DeviceError("There is no NVIDIA driver.", _driver_hint()) from error
        raise _silent(error) from error
    if count <= DEVICE_INDEX:
        raise DeviceError("CUDA finds no GPU.", "See what the driver finds: nvidia-smi")
    return driver


def _not_loaded(name: str, error: ImportError) -> MissingDependencyError:
    if isinstance(error, ModuleNotFoundError) and error.name in _MODULES[name] | {None}:
        return MissingDependencyError(f"{name} is not installed.", f"Install it: pip install {name}")
    return MissingDependencyError(
        f"{name} is installed and does not load ({_one_line(error)}).",
        f"Install it again: pip install --force-reinstall --no-cache-dir {name}",
    )


def _has_pci_gpu() -> bool:
    return _NVIDIA_PCI_VENDOR in (path.read_text().strip() for path in _PCI_DEVICES.glob("*/vendor"))


def _driver_hint() -> str:
    if _has_pci_gpu():
        return f"Install it: {_DRIVER_COMMAND}"
    return "Use a machine with an NVIDIA GPU, or --backend auto, which picks a backend that works here."


def _silent(error: Exception) -> DeviceError:
    return DeviceError(
        f"The NVIDIA driver does not answer ({_one_line(error)}).", "See what the driver finds: nvidia-smi"
    )


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())
