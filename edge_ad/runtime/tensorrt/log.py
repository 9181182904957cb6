"""TensorRT's log: the first error becomes part of a message, and nothing is printed."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["create_log"]

_LOCATION = re.compile(r"(^(\d+: )?\[[\w.]+::[\w:]+\] )|(In \w+ at [\w./-]+:\d+ ?)")
"""Where in its own source TensorRT found an error."""


def create_log(trt: Any) -> Any:
    """An ``ILogger`` that keeps the first error since the last ``take_error()``, in one line, empty when none.

    The first is the cause; what follows is "Engine deserialization failed" and the like.

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
