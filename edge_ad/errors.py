"""Every failure a user can meet, as one tree.

    EdgeAdError              exit 1
    ├── UsageError           exit 2   an argument is wrong
    │   └── DataError        exit 2   images, folders or videos that cannot be used
    ├── MissingDependencyError  exit 3   an optional package is not installed
    ├── DeviceError          exit 3   a camera, GPU or backend is not there
    ├── BundleError          exit 1   a bundle is damaged, too new, or of another target
    │   ├── ForeignEngineError  exit 1   an engine is of another machine or version of its backend
    │   └── DamagedEngineError  exit 1   an engine is damaged or of another graph
    ├── CheckpointError      exit 1   a run or checkpoint cannot be used
    ├── StorageError         exit 1   a file could not be written
    ├── QualityGateError     exit 4   an engine is not as good as what was trained
    └── TrailError           exit 4   records were changed after they were written

Each error carries one line that says what is wrong and one that says what to do.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

__all__ = [
    "BundleError",
    "CheckpointError",
    "DamagedEngineError",
    "DataError",
    "DeviceError",
    "EdgeAdError",
    "EngineCrashError",
    "ForeignEngineError",
    "MissingDependencyError",
    "QualityGateError",
    "StorageError",
    "TrailError",
    "UsageError",
    "require",
]


class EdgeAdError(Exception):
    """A failure with a message for the user.

    Args:
        message: One line: what is wrong.
        hint: One line: what to do about it; may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(EdgeAdError):
    """An argument is wrong."""

    exit_code = 2


class DataError(UsageError):
    """Images, folders or videos that cannot be used."""


class MissingDependencyError(EdgeAdError):
    """An optional package is not installed."""

    exit_code = 3


class DeviceError(EdgeAdError):
    """A camera, GPU or backend is not there or does not answer."""

    exit_code = 3


class BundleError(EdgeAdError):
    """A bundle is damaged, too new, or belongs to another target."""


class EngineCrashError(BundleError):
    """The process in which an engine was loaded or run was ended by a signal, or gave no answer."""


class ForeignEngineError(BundleError):
    """An engine was built for another processor or by another version of its backend; its graph can be compiled."""


class DamagedEngineError(BundleError):
    """An engine is not as it was built, or of another graph; building it from its bundle again mends it."""


class CheckpointError(EdgeAdError):
    """A run or checkpoint cannot be used."""


class StorageError(EdgeAdError):
    """A file could not be written (disk full, no permission)."""


class QualityGateError(EdgeAdError):
    """An engine's results are too far from what was trained.

    Args:
        message: One line: what is wrong.
        hint: One line: what to do about it.
        report: What was measured, and the limits, where an accuracy gate failed.
    """

    exit_code = 4

    def __init__(self, message: str, hint: str = "", report: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, hint)
        self.report: Mapping[str, Any] = report or {}


class TrailError(EdgeAdError):
    """Records do not agree with their trail: they were changed, removed or added after they had been written."""

    exit_code = 4


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional or heavy module, or say how to install it.

    Args:
        module: Dotted module name, such as ``"torch"``.
        extra: The extra of edge-ad that brings it, such as ``"train"``; empty for the base install.

    Raises:
        MissingDependencyError: The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        target = f"edge-ad[{extra}]" if extra else "edge-ad"
        raise MissingDependencyError(
            f"{module} cannot be imported ({error}).", f"Install it with: pip install '{target}'"
        ) from error
