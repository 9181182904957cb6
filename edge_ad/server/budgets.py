"""What clients may do in a time: a budget for each address."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict

__all__ = ["Budgets", "ip_of"]

_MOST_ADDRESSES = 4096
_IPV6_PREFIX = 64  # one customer, and often one machine, has all addresses below it


class Budgets:
    """A token bucket for each address (IPv6: for each /64): actions spend from it, and it refills with time.

    Used from several threads. Memory is bounded: beyond 4096 addresses the one that has spent nothing for longest is
    forgotten, which is the one whose budget has refilled most.

    Args:
        per_s: How much it refills per second.
        at_once: How much it holds at most.
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
        return self._take(address, 0.0) == 0.0

    def wait_s(self, address: str) -> float:
        """Seconds until an address has one to spend; 0 when it has."""
        with self._lock:
            return max(0.0, 1 - self._at(_network(address), time.monotonic())) / self._per_s

    def reserve(self, address: str, longest_s: float) -> float:
        """Take one, in advance when there is none.

        Returns:
            Seconds until it is there: the longest, and nothing is taken, when that takes longer.
        """
        return self._take(address, longest_s)

    def _take(self, address: str, longest_s: float) -> float:
        network, now = _network(address), time.monotonic()
        with self._lock:
            left = self._at(network, now)
            wait_s = max(0.0, 1 - left) / self._per_s
            if wait_s > longest_s:
                return max(longest_s, 1e-9)
            self._left[network] = left - 1, now
            self._left.move_to_end(network)
            while len(self._left) > self._most_addresses:
                self._left.popitem(last=False)
            return wait_s

    def _at(self, network: str, now: float) -> float:
        left, at = self._left.get(network, (self._at_once, now))
        return min(self._at_once, left + self._per_s * (now - at))


def _network(address: str) -> str:
    """Key of an address's budget: IPv4 unchanged, IPv6 without its last half; empty for what is not an address."""
    ip = ip_of(address)
    if ip is None or ip.version == 4:
        return "" if ip is None else str(ip)
    return str(ipaddress.ip_network((int(ip), _IPV6_PREFIX), strict=False))


def ip_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address without its zone; IPv4 that is written as IPv6 is IPv4."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip
