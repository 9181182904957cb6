"""Progress of a training on stderr: a bar with the time left in a terminal, occasional lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from edge_ad.cli.console import note

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

    from edge_ad.training.loop import EpochReport

__all__ = ["EpochProgress", "time_left"]

_SECONDS_BETWEEN_LINES = 15.0


class EpochProgress:
    """Listener of a training; a context manager that leaves the terminal clean."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._announced: set[str] = set()  # stages whose first epoch was shown, with the time that it promises
        self._printed_at = time.monotonic()

    def __enter__(self) -> EpochProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}", markup=False),
            )
            self._bars = Progress(*columns, console=Console(stderr=True))
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, report: EpochReport) -> None:
        """Show one more epoch."""
        done, total = report.progress.epoch, report.epochs
        loss, left = sum(report.losses.values()), time_left((total - done) * report.seconds)
        is_due = done == total or time.monotonic() - self._printed_at > _SECONDS_BETWEEN_LINES
        if self._bars is not None:
            task = self._tasks.get(report.stage)
            if task is None:
                task = self._tasks[report.stage] = self._bars.add_task(report.stage, total=total, left="")
            self._bars.update(task, completed=done, description=f"{report.stage} · loss {loss:.4f}", left=left)
        elif is_due or report.stage not in self._announced:
            self._announced.add(report.stage)
            note(f"{report.stage} {done}/{total} · loss {loss:.4f} · {left}")
            self._printed_at = time.monotonic()


def time_left(seconds: float) -> str:
    """Time left, from the duration of the newest epoch: in seconds below two minutes, in hours from two hours on."""
    if seconds < 120:
        return f"{seconds:.0f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 7200 else f"{seconds / 3600:.1f} h left"
