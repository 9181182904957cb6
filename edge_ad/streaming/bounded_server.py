"""A small HTTP server that slow and silent clients can neither fill nor hold."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from edge_ad.streaming.deadline import Deadline, DeadlineSocket

__all__ = ["BoundedHandler", "BoundedServer"]

_LONGEST_WAIT_S = 1.0  # for the thread of a client that was sent away: it ends as soon as it is run


class BoundedHandler(BaseHTTPRequestHandler):
    """Answers one request whose head came to its end; one that was cut off before asks for nothing."""

    server_version, sys_version = "edge-ad", ""

    def setup(self) -> None:
        """As that of the standard library, which takes a head that breaks off for one that has ended."""
        super().setup()
        self._lines = _Lines(self.rfile)
        self.rfile = self._lines  # type: ignore[assignment]

    def parse_request(self) -> bool:
        """Whether there is a request to answer."""
        if super().parse_request() and self._lines.last in (b"\r\n", b"\n"):
            return True
        self.close_connection = True
        return False

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants a line for every request."""


class _Lines:
    """Lines of a request, and the last one of them."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream, self.last = stream, b""
        self.close = stream.close

    def readline(self, size: int = -1) -> bytes:
        self.last = self._stream.readline(size)
        return self.last


class BoundedServer(ThreadingHTTPServer):
    """Answers a bounded number of clients at once, each within one deadline.

    When all places are taken, a new client gets the place of the one that has been there longest, of the address that
    holds most of them: a request that is complete is answered at once, so that what stays is slow or silent.

    Args:
        address: Host and port to listen at.
        handler: Answers one request and closes the connection.
        most: Clients at once.
        timeout_s: Longest time from a client's connection to the end of its answer.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BoundedHandler], *, most: int, timeout_s: float) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._most, self._timeout_s = most, timeout_s
        self._changed = threading.Condition()
        self._clients: dict[socket.socket, str] = {}  # oldest first → address
        self._open_threads = 0
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client, and begin to count its time."""
        accepted, address = super().get_request()
        client = DeadlineSocket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        client.deadline = Deadline()
        client.deadline.start(self._timeout_s)
        return client, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the client a thread; turn it away when those that gave up their place do not even end."""
        if self._has_taken(request, client_address[0]):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def _has_taken(self, client: socket.socket, address: str) -> bool:
        with self._changed:
            if len(self._clients) >= self._most:
                self._send_one_away()
            if not self._changed.wait_for(lambda: self._open_threads < 2 * self._most, _LONGEST_WAIT_S):
                return False
            self._open_threads += 1
            self._clients[client] = address
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open_threads -= 1
                self._clients.pop(request, None)
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or was too slow is its own affair."""

    def server_close(self) -> None:
        """Stop listening, and cut the connections that are left."""
        super().server_close()
        with self._changed:
            while self._clients:
                self._send_one_away()

    def _send_one_away(self) -> None:
        places = Counter(self._clients.values())
        most = max(places.values())
        client = next(client for client, address in self._clients.items() if places[address] == most)
        del self._clients[client]
        with suppress(OSError):  # it went by itself
            client.shutdown(socket.SHUT_RDWR)
