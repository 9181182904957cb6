"""How far a sweep is: counts of each method, and the time that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from edge_ad.sweeps.cells import Cell
from edge_ad.sweeps.controller import Answer

__all__ = ["GroupCount", "SweepProgress"]


@dataclass(frozen=True)
class GroupCount:
    """Cells of a group.

    Attributes:
        group: Its name.
        done: With a result.
        failed: Without.
        running: Started.
        total: In all.
        seconds: Mean time of one; None while none is done.
    """

    group: str
    done: int
    failed: int
    running: int
    total: int
    seconds: float | None


class SweepProgress:
    """Counts answers.

    Args:
        cells: All cells.
        workers: How many run at the same time.
    """

    def __init__(self, cells: Sequence[Cell], workers: int) -> None:
        self._cells, self._workers = tuple(cells), max(1, workers)
        self._answers: dict[str, Answer] = {}
        self._running: frozenset[str] = frozenset()

    def add(self, answer: Answer) -> None:
        """Take an answer; its cell runs no more."""
        self._answers[answer.cell.key] = answer
        self._running -= {answer.cell.key}

    def runs(self, running: Sequence[Cell]) -> None:
        """Take what runs now."""
        self._running = frozenset(cell.key for cell in running)

    @property
    def answers(self) -> dict[str, Answer]:
        """Key → answer."""
        return dict(self._answers)

    def groups(self) -> list[GroupCount]:
        """The counts, in the order of the plan."""
        total = Counter(cell.group for cell in self._cells)
        running = Counter(cell.group for cell in self._cells if cell.key in self._running)
        failed = Counter(each.cell.group for each in self._answers.values() if each.finished is None)
        return [
            GroupCount(group, len(seconds), failed[group], running[group], count, fmean(seconds) if seconds else None)
            for group, count in total.items()
            for seconds in [self._seconds(group)]
        ]

    def seconds_left(self) -> float | None:
        """About how long the rest takes; None while no cell is done.

        A cell takes what those of its group took, or of all where none of its group is done.
        """
        left = Counter(cell.group for cell in self._cells if cell.key not in self._answers)
        overall = self._seconds()
        if not overall:
            return None
        work = sum(count * fmean(self._seconds(group) or overall) for group, count in left.items())
        return work / min(self._workers, max(1, left.total()))

    def _seconds(self, group: str | None = None) -> list[float]:
        return [
            answer.finished.cost.seconds
            for answer in self._answers.values()
            if answer.finished is not None and group in (None, answer.cell.group)
        ]
