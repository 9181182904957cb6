"""Imports ONNX Runtime without its usage statistics, so that nothing leaves the device unasked."""

from __future__ import annotations

import os
from typing import Any

from edge_ad.errors import require

__all__ = ["onnxruntime_api"]


def onnxruntime_api() -> Any:
    """The ``onnxruntime`` module.

    Some builds note each process and each session in a database in the home folder, with an identifier of the device,
    to send them to a web service. They ask for this variable of the environment when they are loaded; a user who has
    set it has chosen.

    Raises:
        MissingDependencyError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return require("onnxruntime", extra="")
