"""Removes records that are older than they are to be kept."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress

from edge_ad.errors import UsageError

__all__ = ["Retention"]

_CHECK_S = 60.0
_MOST_AT_ONCE = 20_000  # rows of a table: a fraction of a second on a slow disk
_OLDEST = (
    "DELETE FROM verdicts WHERE id IN (SELECT id FROM verdicts WHERE time_unix < ? ORDER BY time_unix LIMIT ?)",
    "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time_unix < ? ORDER BY time_unix LIMIT ?)",
    """DELETE FROM unjudged WHERE (minute_unix, source, reason) IN
        (SELECT minute_unix, source, reason FROM unjudged WHERE minute_unix < ? LIMIT ?)""",
)


class Retention:
    """Removes a bounded number of rows at a time, so that recording never waits long.

    Age is counted on a clock that is read once, at the start: a clock that is set while the stream runs removes
    nothing. The file does not shrink; its room is used again.

    Args:
        keep_days: Remove what is older; None removes nothing.

    Raises:
        UsageError: The limit is not positive.
    """

    def __init__(self, keep_days: float | None) -> None:
        if keep_days is not None and not keep_days > 0:
            raise UsageError(f"Records cannot be kept for {keep_days:g} days.", "Give a limit above 0, or none.")
        self._keep_s = None if keep_days is None else keep_days * 86400
        self._clock_offset = time.time() - time.monotonic()
        self._next_at = 0.0

    def enforce(self, connection: sqlite3.Connection) -> None:
        """Remove what is too old, when it is time to; what cannot be removed now is tried again later.

        Args:
            connection: Without automatic transactions, and in none.
        """
        now = time.monotonic()
        if self._keep_s is None or now < self._next_at:
            return
        self._next_at = now + _CHECK_S
        oldest_kept = now + self._clock_offset - self._keep_s
        with suppress(sqlite3.Error):
            removed = [connection.execute(statement, (oldest_kept, _MOST_AT_ONCE)).rowcount for statement in _OLDEST]
            if max(removed) == _MOST_AT_ONCE:
                self._next_at = now  # there is more
