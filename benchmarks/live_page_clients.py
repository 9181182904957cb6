"""Clients of the live page for its benchmark, in a process of their own: `python -m benchmarks.live_page_clients LOAD`.

Reads the port from stdin, then loads the page until it is killed. LOAD is ``"N viewer"``, ``"misuse"`` or ``"flood"``;
with ``" elsewhere"`` behind it the port is that of something else, such as of LOAD ``"dummy"``, which prints its own.
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


def misuse(port: int, attempts_per_s: float, *, has_page: bool = True) -> None:
    """Hold two hundred connections; each asks for something it does not get, and comes back when it is cut.

    Args:
        port: Where to.
        attempts_per_s: New connections per second, of all together.
        has_page: Whether there is a page, which a further client may watch and never reads.
    """
    selector = selectors.DefaultSelector()
    deaf = _get(port, "/stream.mjpg") if has_page else None
    started, attempts = time.monotonic(), 0
    while deaf or not has_page:
        while len(selector.get_map()) < _CONNECTIONS and attempts < attempts_per_s * (time.monotonic() - started + 1):
            attempts += 1
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            selector.register(client, selectors.EVENT_WRITE, _MISUSE[attempts % len(_MISUSE)])
        for key, _ in selector.select(0.05):
            if not _goes_on(selector, key):
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]


def _goes_on(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> bool:
    """Send what a connection has to say, then wait for its end."""
    client = key.fileobj
    assert isinstance(client, socket.socket)
    with suppress(OSError):
        if key.data is None:
            return bool(client.recv(1 << 16))
        client.send(key.data)
        selector.modify(client, selectors.EVENT_READ)
        return True
    return False


def be_dummy() -> None:
    """A server that refuses everybody at once, and says its port: what clients cost a machine that has no page."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.settimeout(1)
            client.recv(1 << 17)
            client.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


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
    load = sys.argv[1]
    if load == "dummy":
        be_dummy()
    port = int(sys.stdin.readline())
    with suppress(OSError, http.client.HTTPException):  # the stream has ended
        if load.startswith(("misuse", "flood")):
            bound = _ATTEMPTS_PER_S if load.startswith("misuse") else float("inf")
            misuse(port, bound, has_page="elsewhere" not in load)
        else:
            watch(port, int(load.split()[0]))


if __name__ == "__main__":
    main()
