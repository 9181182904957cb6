"""Imports TensorRT, or reports in one line what is missing; turns its log into lines."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from edge_ad.errors import MissingDependencyError

__all__ = [
    "TensorRtName",
    "create_log",
    "install_command",
    "tensorrt_module",
    "tensorrt_version",
]

TensorRtName = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: Mapping[TensorRtName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DISTRIBUTIONS: Mapping[TensorRtName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx-cu13"}
_JETSON_RELEASE = Path("/etc/nv_tegra_release")


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


def _broken(backend: TensorRtName, reason: object) -> MissingDependencyError:
    command = install_command(backend)
    again = "--reinstall" if command.startswith("sudo apt") else "--force-reinstall"
    return MissingDependencyError(
        f"{_DISTRIBUTIONS[backend]} is installed and does not load ({_one_line(reason)}).",
        f"Install it again: {command.replace(' install ', f' install {again} ')}",
    )


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())


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
