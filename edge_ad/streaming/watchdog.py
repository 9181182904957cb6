"""Reports to systemd by `sd_notify`: ready, alive, status, stopping."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["Watchdog"]

_STATUS_EVERY_S = 5.0
_MOST_STALLED_S = 30.0  # without a watchdog, after which a stalled engine is reported


class Watchdog:
    """Sends the states of a service to the socket that systemd names; without one it does nothing.

    Args:
        environment: Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._socket = _connect(environment.get("NOTIFY_SOCKET", ""))
        self._interval_s = _interval_s(environment)
        self._next_beat = self._next_status = 0.0

    @property
    def most_stalled_s(self) -> float:
        """Longest time for which an engine may hold frames without a result and count as alive."""
        return self._interval_s / 2 if self._interval_s else _MOST_STALLED_S

    def ready(self) -> None:
        """The stream runs."""
        self._send("READY=1")

    def beat(self, *, is_healthy: bool, status: Callable[[], str]) -> None:
        """Send what is due; may be called at any rate.

        Args:
            is_healthy: Whether results come, or there is nothing to judge. If not, nothing is sent, and systemd acts.
            status: One line for ``systemctl status``.
        """
        if self._socket is None:
            return
        now = self._clock()
        if is_healthy and self._interval_s and now >= self._next_beat:
            self._next_beat = now + self._interval_s / 4
            self._send("WATCHDOG=1")
        if now >= self._next_status:
            self._next_status = now + _STATUS_EVERY_S
            self._send(f"STATUS={' '.join(status().split())}")

    def stopping(self) -> None:
        """Report that the stream ends; nothing is sent after this."""
        self._send("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, state: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # an init system that does not listen must not stop the stream
                self._socket.send(state.encode())


def _connect(address: str) -> socket.socket | None:
    if not address or address[0] not in "/@" or not hasattr(socket, "AF_UNIX"):
        return None
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        notify.setblocking(False)
        notify.connect("\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        notify.close()
        return None
    return notify


def _interval_s(environment: Mapping[str, str]) -> float:
    """The watchdog's time; 0 for none, or where it is meant for another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(environment.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0
