"""What an address may still do: a budget that is spent by doing it and refills with time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from edge_ad.streaming.web.clients import network_of

__all__ = ["Budgets"]

_MOST_ADDRESSES = 4096


class Budgets:
    """One budget for each address, IPv6 addresses by their /64; used from several threads.

    Memory is bounded: beyond 4096 addresses the one that has spent nothing for longest is forgotten, which is the one
    whose budget has refilled most.

    Args:
        per_s: How much comes back in a second.
        at_once: How much there is at most.
        most_addresses: How many are remembered.
    """

    def __init__(self, per_s: float, at_once: float, *, most_addresses: int = _MOST_ADDRESSES) -> None:
        self._per_s, self._at_once, self._most_addresses = per_s, at_once, most_addresses
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # network → what was left, and when

    def __len__(self) -> int:
        """How many addresses are remembered."""
        with self._lock:
            return len(self._left)

    def spend(self, address: str) -> bool:
        """Take one from the budget of an address; False, and nothing is taken, when there is none."""
        network, now = network_of(address), time.monotonic()
        with self._lock:
            if (left := self._at(network, now)) < 1:
                return False
            self._left[network] = left - 1, now
            self._left.move_to_end(network)
            while len(self._left) > self._most_addresses:
                self._left.popitem(last=False)
            return True

    def wait_s(self, address: str) -> float:
        """Seconds until an address has one to spend; 0 when it has."""
        with self._lock:
            return max(0.0, 1 - self._at(network_of(address), time.monotonic())) / self._per_s

    def _at(self, network: str, now: float) -> float:
        left, at = self._left.get(network, (self._at_once, now))
        return min(self._at_once, left + self._per_s * (now - at))
