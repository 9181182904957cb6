"""TensorRT's log: the last error becomes part of a message, and nothing is printed."""

from __future__ import annotations

from typing import Any

__all__ = ["create_log"]


def create_log(trt: Any) -> Any:
    """An ``ILogger`` whose ``last_error`` is the last error that TensorRT logged, in one line, empty when none.

    Args:
        trt: The TensorRT module; the class cannot exist without it.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last_error = " ".join(message.split())

    return Log()
