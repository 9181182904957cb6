"""The live table of a sweep on stderr; a line for each answer where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from edge_ad.cli.console import note
from edge_ad.cli.progress import time_left

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.table import Table

    from edge_ad.sweeps.controller import Answer
    from edge_ad.sweeps.progress import SweepProgress

__all__ = ["SweepTable"]

_SECONDS_BETWEEN_PICTURES = 0.5


class SweepTable:
    """Shows how far a sweep is; a context manager that leaves the terminal clean."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._shown_at = float("-inf")

    def __enter__(self) -> SweepTable:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: SweepProgress, answer: Answer | None) -> None:
        """Show the progress, and an answer where there is a new one."""
        if answer is not None and answer.is_new:
            text = _sentence(progress, answer)
            if self._live is None:
                note(text)
            elif answer.failure is not None:
                self._live.console.print(text, markup=False, style="red")
        is_due = answer is not None or time.monotonic() - self._shown_at > _SECONDS_BETWEEN_PICTURES
        if self._live is not None and is_due:
            self._live.update(_table(progress), refresh=True)
            self._shown_at = time.monotonic()


def _sentence(progress: SweepProgress, answer: Answer) -> str:
    counts = progress.groups()
    done, total = sum(each.done + each.failed for each in counts), sum(each.total for each in counts)
    left = progress.seconds_left()
    rest = "" if left is None or done == total else f" · {time_left(left)}"
    if answer.finished is None:
        assert answer.failure is not None
        return f"{done}/{total} {answer.cell.words}: failed: {answer.failure.message}{rest}"
    return f"{done}/{total} {answer.cell.words}: {answer.finished.cost.seconds:.1f} s{rest}"


def _table(progress: SweepProgress) -> Table:
    from rich.table import Table

    counts, left = progress.groups(), progress.seconds_left()
    done, total = sum(each.done + each.failed for each in counts), sum(each.total for each in counts)
    table = Table(title=f"{done} of {total} cells{'' if left is None or done == total else f' · {time_left(left)}'}")
    for name in ("method", "done", "failed", "running", "waiting", "seconds each"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for each in counts:
        waiting = each.total - each.done - each.failed - each.running
        seconds = "-" if each.seconds is None else f"{each.seconds:.1f}"
        cells = (each.done, each.failed, each.running, waiting)
        table.add_row(each.group, *(str(count) for count in cells), seconds)
    return table
