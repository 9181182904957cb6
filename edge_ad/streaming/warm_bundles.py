"""Keeps the bundles that were used last open, within a number and a limit of memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge_ad.runtime.engine import Engine
from edge_ad.streaming.bundle_opening import OpenBundle

__all__ = ["WarmBundles", "WarmLimits", "resident_bytes"]

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class WarmLimits:
    """What may stay open.

    Attributes:
        most: Bundles, with the one in use.
        most_bytes: Memory of all of them; None for no limit. What judges is never closed for it.
    """

    most: int = 1
    most_bytes: int | None = None


@dataclass
class _Warm:
    """An open bundle.

    Attributes:
        key: What it was opened as; None where it is opened anew each time.
        opened: The bundle.
        users: How many need it now.
        size: By how much the memory of this process grew when it was opened, in bytes.
        turn: When it was used last, by a count of uses.
    """

    key: Hashable
    opened: OpenBundle
    users: int
    size: int
    turn: int


class WarmBundles:
    """Open bundles. For one thread at a time.

    Args:
        first: The bundle to start with; in use.
        key: What it was opened as; None where bundles are not kept.
        limits: What may stay open.
        on_failure: Told when a bundle cannot be closed.
        memory: Gives the memory of this process, in bytes.
    """

    def __init__(
        self,
        first: OpenBundle,
        key: Hashable,
        limits: WarmLimits,
        on_failure: Callable[[Exception], None],
        memory: Callable[[], int] | None = None,
    ) -> None:
        self._limits, self._on_failure, self._memory = limits, on_failure, memory or resident_bytes
        self._turn = 1
        self._open = [_Warm(key, first, 1, 0, 1)]

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    def is_open(self, engine: Engine) -> bool:
        """Whether the bundle of an engine is open."""
        return any(warm.opened.judging.engine is engine for warm in self._open)

    def take(self, key: Hashable, opener: Callable[[], OpenBundle]) -> tuple[OpenBundle, bool]:
        """An open bundle, in use from now on, and whether it was open already.

        Args:
            key: What it is opened as; the same key gives the same bundle. None opens one anew.
            opener: Opens it and gets it ready.

        Raises:
            EdgeAdError: It cannot be opened.
        """
        self._turn += 1
        for warm in self._open:
            if key is not None and warm.key == key:
                warm.users, warm.turn = warm.users + 1, self._turn
                return warm.opened, True
        before = self._memory()
        opened = opener()
        self._open.append(_Warm(key, opened, 1, max(0, self._memory() - before), self._turn))
        return opened, False

    def release(self, engine: Engine) -> None:
        """Need a bundle no more, by its engine; it is closed where the limits ask for that."""
        for warm in self._open:
            if warm.opened.judging.engine is engine:
                warm.users -= 1
        self._close_beyond()

    def close(self) -> None:
        """Close all of them, in use or not; may be called twice. What one of them raises is raised at the end."""
        opened, self._open = self._open, []
        with ExitStack() as stack:
            for warm in opened:
                stack.push(warm.opened.stack)

    def _close_beyond(self) -> None:
        idle = sorted((warm for warm in self._open if warm.users <= 0), key=lambda warm: warm.turn)
        for warm in idle:
            most_bytes = self._limits.most_bytes
            is_heavy = most_bytes is not None and sum(one.size for one in self._open) > most_bytes
            if len(self._open) > self._limits.most or is_heavy or warm.key is None:
                self._open.remove(warm)
                try:
                    warm.opened.stack.close()
                except Exception as error:  # others are opened and closed all the same
                    self._on_failure(error)


def resident_bytes() -> int:
    """Memory of this process that is in RAM, in bytes; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
