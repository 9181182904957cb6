"""Which backends work here, and what is missing where one does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_ad.errors import MissingDependencyError, UsageError
from edge_ad.runtime.onnxruntime_engine import onnxruntime_version
from edge_ad.runtime.openvino_api import openvino_version

__all__ = ["BACKENDS", "BackendStatus", "probe", "probe_backend"]

BACKENDS = ("tensorrt", "tensorrt-rtx", "openvino", "onnxruntime")
"""Every backend, in the order in which ``auto`` prefers them."""

_VERSIONS: Mapping[str, Callable[[], str]] = {"openvino": openvino_version, "onnxruntime": onnxruntime_version}


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used.

    Attributes:
        name: Backend name.
        available: Whether it can.
        version: Its version; empty when it is not available.
        why: Why it is or is not available, in words.
        install_command: Command that makes it available; empty when it is, or when no command can.
    """

    name: str
    available: bool
    version: str
    why: str
    install_command: str


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
        return BackendStatus(name, False, "", "planned, not built in this release", "")
    try:
        return BackendStatus(name, True, _VERSIONS[name](), "runs on this CPU", "")
    except MissingDependencyError as error:
        return BackendStatus(name, False, "", error.message, f"pip install {name}")
