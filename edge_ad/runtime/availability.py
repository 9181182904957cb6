"""Which backends work here, and what is missing where one does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from edge_ad.errors import DeviceError, EdgeAdError, MissingDependencyError, UsageError
from edge_ad.runtime.onnxruntime_engine import onnxruntime_version
from edge_ad.runtime.openvino_api import openvino_version
from edge_ad.runtime.tensorrt.api import Backend, device_name, device_target, has_gpu, tensorrt_version

__all__ = ["BACKENDS", "TENSORRT_BACKENDS", "BackendStatus", "probe", "probe_backend"]

BACKENDS = ("tensorrt", "tensorrt-rtx", "openvino", "onnxruntime")
"""Every backend, in the order in which ``auto`` prefers them."""

TENSORRT_BACKENDS: tuple[Backend, ...] = ("tensorrt", "tensorrt-rtx")
"""Those that run a plan on an NVIDIA GPU."""

_VERSIONS: Mapping[str, Callable[[], str]] = {"openvino": openvino_version, "onnxruntime": onnxruntime_version}
# TensorRT for RTX compiles ahead of time on a CPU; full TensorRT measures its kernels on the GPU.
_BUILDS_WITHOUT_GPU = ("tensorrt-rtx",)


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used.

    Attributes:
        name: Backend name.
        available: Whether it can.
        version: Its version; empty when it is not available.
        why: Why it is or is not available, in words.
        install_command: Command that makes it available; empty when it is, or when no command can.
        can_build: Whether engine directories can be built here; some backends build where they cannot run.
    """

    name: str
    available: bool
    version: str
    why: str
    install_command: str
    can_build: bool = False


def probe() -> list[BackendStatus]:
    """Try every backend; this imports those that are installed."""
    return [probe_backend(name) for name in BACKENDS]


def probe_backend(name: str) -> BackendStatus:
    """Try one backend.

    Raises:
        UsageError: There is no such backend.
    """
    if name not in BACKENDS:
        raise UsageError(f"There is no backend {name!r}.", f"Choose one of: auto, {', '.join(BACKENDS)}.")
    if name not in _VERSIONS:
        return _probe_tensorrt(cast("Backend", name))
    try:
        return BackendStatus(name, True, _VERSIONS[name](), "runs on this CPU", "", can_build=True)
    except MissingDependencyError as error:
        return BackendStatus(name, False, "", error.message, f"pip install {name}")


def _probe_tensorrt(name: Backend) -> BackendStatus:
    try:
        version = tensorrt_version(name)
    except MissingDependencyError as error:
        return _not_installed(name, error)
    try:
        gpu = f"{device_name()}, {device_target()}"
    except (MissingDependencyError, DeviceError) as error:
        if name not in _BUILDS_WITHOUT_GPU:
            return BackendStatus(name, False, version, _clause(error.message), _command(error))
        why = f"can build plans, cannot run here: {_clause(error.message)}"
        return BackendStatus(name, False, version, why, _command(error), can_build=True)
    return BackendStatus(name, True, version, f"runs on this GPU ({gpu})", "", can_build=True)


def _not_installed(name: Backend, error: MissingDependencyError) -> BackendStatus:
    if name in _BUILDS_WITHOUT_GPU or has_gpu():
        return BackendStatus(name, False, "", _clause(error.message), _command(error))
    return BackendStatus(name, False, "", f"{_clause(error.message)}, and there is no NVIDIA GPU to run it", "")


def _clause(message: str) -> str:
    sentence = message.rstrip(".")
    return sentence.replace("There is no ", "no ", 1) if sentence.startswith("There is no ") else sentence


def _command(error: EdgeAdError) -> str:
    """The command at the end of a hint such as ``Install it: pip install pycuda``; empty where there is none."""
    return error.hint.partition(": ")[2]
