"""How many connections there are, and whose; counted by the door, and by the server when one ends."""

from __future__ import annotations

import threading
from collections import Counter

from edge_ad.streaming.web.limits import Limits

__all__ = ["Crowd"]


class Crowd:
    """Counts connections; used from several threads.

    Args:
        limits: What is allowed.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._per_address: Counter[str] = Counter()

    def __len__(self) -> int:
        with self._lock:
            return self._per_address.total()

    def enter(self, address: str) -> bool:
        """Count a connection, unless there are too many."""
        with self._lock:
            is_full = self._per_address.total() >= self._limits.connections
            if is_full or self._per_address[address] >= self._limits.connections_per_address:
                return False
            self._per_address[address] += 1
            return True

    def leave(self, address: str) -> None:
        """Forget a connection that was counted."""
        with self._lock:
            self._per_address[address] -= 1
            if self._per_address[address] <= 0:
                del self._per_address[address]
