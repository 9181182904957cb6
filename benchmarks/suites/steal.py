"""Steal time: what a virtual machine's host gave to others while this machine wanted to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["CALM", "StealClock", "is_calm", "parse_stat"]

CALM = 0.03
"""A round is calm when at most this share of the machine's time was taken from it."""

_STAT = Path("/proc/stat")
_STEAL = 7
_FIELDS = 8  # what follows is counted in these already


def parse_stat(text: str) -> tuple[int, int]:
    """Stolen and total ticks in the text of ``/proc/stat``.

    Raises:
        ValueError: It has no line of all CPUs.
    """
    for line in text.splitlines():
        name, *fields = line.split()
        if name == "cpu" and len(fields) >= _FIELDS:
            ticks = [int(field) for field in fields[:_FIELDS]]
            return ticks[_STEAL], sum(ticks)
    raise ValueError("no line of all CPUs with its steal time")


def is_calm(stolen: float | None) -> bool:
    """Whether a round counts; where nothing says what was stolen, every round does."""
    return stolen is None or stolen <= CALM


class StealClock:
    """Share of the machine's time that was stolen from lap to lap; None where the system does not say.

    Args:
        read: Returns the text of ``/proc/stat``.
    """

    def __init__(self, read: Callable[[], str] = _STAT.read_text) -> None:
        self._read = read
        self._last = self._ticks()

    def lap(self) -> float | None:
        """Share since the last lap, in [0, 1]."""
        before, self._last = self._last, self._ticks()
        if before is None or self._last is None or self._last[1] <= before[1]:
            return None
        return (self._last[0] - before[0]) / (self._last[1] - before[1])

    def _ticks(self) -> tuple[int, int] | None:
        try:
            return parse_stat(self._read())
        except (OSError, ValueError):
            return None
