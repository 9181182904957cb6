"""TensorRT's log and progress, taken up by objects of the module's own classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

__all__ = ["BuildLog", "first_reasons", "make_progress_monitor"]

_SHOWN_EVERY_S = 2.0
_NO_DRIVER = "cudaError 35"

Say = Callable[[str], None]


def first_reasons(lines: Iterable[str], *, count: int = 3) -> str:
    """The first of TensorRT's error lines that say something, as one line.

    Without a GPU every failure also logs that CUDA does not answer: of no use where there is another reason.
    """
    distinct = list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    telling = [line for line in distinct if _NO_DRIVER not in line] or distinct
    return " ".join(telling[:count]) or "it gives no reason."


class BuildLog:
    """Collects what TensorRT logs.

    Args:
        trt: The TensorRT module.

    Attributes:
        logger: The logger to hand to TensorRT; it must outlive everything made with it.
        errors: Its errors, one line each.
        warnings: Its warnings, one line each.
        layer_listing: The list of the layers that were built; empty where the log has none.
    """

    def __init__(self, trt: Any) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layer_listing = ""
        severities = trt.ILogger
        log = self

        class _Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)  # pybind11 asks for this call, not for super()

            def log(self, severity: Any, message: str) -> None:
                if severity in (severities.ERROR, severities.INTERNAL_ERROR):
                    log.errors.append(" ".join(message.split()))
                elif severity == severities.WARNING:
                    log.warnings.append(" ".join(message.split()))
                elif message.startswith("Layers:"):
                    log.layer_listing += message + "\n"

        self.logger = _Logger()


def make_progress_monitor(trt: Any, say: Say, *, every_s: float = _SHOWN_EVERY_S) -> Any:
    """A progress monitor that says how far a build has come, at most once in a while.

    Args:
        trt: TensorRT 10 or newer.
        say: Told the phase and its step.
        every_s: Seconds between two lines; a build that takes less says nothing.
    """

    class _Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._next = monotonic() + every_s

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if monotonic() >= self._next:
                self._next = monotonic() + every_s
                say(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, 0)}.")
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return _Monitor()
