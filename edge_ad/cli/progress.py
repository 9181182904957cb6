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

__all__ = ["EpochProgress"]

_SECONDS_BETWEEN_LINES = 15.0


class EpochProgress:
    """Listener of a training; a context manager that leaves the terminal clean."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._printed_at = time.monotonic()

    def __enter__(self) -> EpochProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
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
        loss = sum(report.losses.values())
        if self._bars is not None:
            task = self._tasks.get(report.stage)
            if task is None:
                task = self._tasks[report.stage] = self._bars.add_task(report.stage, total=total)
            self._bars.update(task, completed=done, description=f"{report.stage} · loss {loss:.4f}")
        elif done == total or time.monotonic() - self._printed_at > _SECONDS_BETWEEN_LINES:
            left = (total - done) * report.seconds
            note(f"{report.stage} {done}/{total} · loss {loss:.4f} · {left:.0f} s left")
            self._printed_at = time.monotonic()
