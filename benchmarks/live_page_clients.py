"""Clients of the live page for its benchmark, in a process of their own: `python -m benchmarks.live_page_clients LOAD`.

Reads the port from stdin, then loads the page until it is killed. LOAD is ``"N viewer"``, ``"misuse"`` or ``"flood"``.
"""

from __future__ import annotations

import http.client
import os
import selectors
import socket
import sys
import time
from contextlib import suppress

TOKEN = "token-of-the-benchmark"
_CONNECTIONS = 200
_ATTEMPTS_PER_S = 200.0  # of all connections together; a flood has no bound
_MISUSE = (
    b"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST /api/pause HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET /stream.mjpg HTTP/1.1\r\n",  # and never the rest
)


def watch(port: int, viewers: int) -> None:
    """Watch as the page does: the state, and one picture after the other."""
    connections = []
    for _ in range(viewers):
        state = _get(port, "/api/live")
        state.getresponse()
        connections.append((state, http.client.HTTPConnection("127.0.0.1", port)))
    serials = ["0"] * viewers
    while True:
        for number, (_, pictures) in enumerate(connections):
            pictures.request("GET", f"/api/picture?after={serials[number]}", headers=_bearer())
        for number, (_, pictures) in enumerate(connections):
            response = pictures.getresponse()
            serials[number] = response.getheader("x-serial") or serials[number]
            response.read()


def misuse(port: int, attempts_per_s: float) -> None:
    """Hold two hundred connections; each asks for something it does not get, and comes back when it is cut."""
    selector = selectors.DefaultSelector()
    deaf = _get(port, "/stream.mjpg")  # one that may watch, and never reads
    started, attempts = time.monotonic(), 0
    while deaf:
        while len(selector.get_map()) < _CONNECTIONS and attempts < attempts_per_s * (time.monotonic() - started + 1):
            attempts += 1
            client = socket.create_connection(("127.0.0.1", port))
            client.setblocking(False)
            with suppress(OSError):
                client.send(_MISUSE[attempts % len(_MISUSE)])
            selector.register(client, selectors.EVENT_READ)
        for key, _ in selector.select(0.05):
            with suppress(OSError):
                if key.fileobj.recv(1 << 16):  # type: ignore[union-attr]
                    continue
            selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]


def _get(port: int, path: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path, headers=_bearer())
    return connection


def _bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def main() -> None:
    """Put the load that the first argument names on the port that comes by standard input."""
    with suppress(OSError):
        os.nice(19)  # what the clients themselves cost is not the page's
    load, port = sys.argv[1], int(sys.stdin.readline())
    with suppress(OSError, http.client.HTTPException):  # the stream has ended
        if load in ("misuse", "flood"):
            misuse(port, _ATTEMPTS_PER_S if load == "misuse" else float("inf"))
        else:
            watch(port, int(load.split()[0]))


if __name__ == "__main__":
    main()
