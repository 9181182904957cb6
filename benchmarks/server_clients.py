"""Clients of a server under load, each kind a process of its own: ``python -m benchmarks.server_clients KIND``."""

from __future__ import annotations

import http.client
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["TOKEN", "be_client", "be_dummy", "hold", "probe", "watch"]

TOKEN = "token-of-the-benchmark"
_BEARER = {"authorization": f"Bearer {TOKEN}"}
_CONNECTIONS = 500
_ATTEMPTS_PER_S = 200.0  # new connections, of all together
_DRIP_S = 0.5
_ASK = f"GET %s HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
_MISUSE = (
    b"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST /api/pause HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET /stream.mjpg HTTP/1.1\r\n",  # and never the rest
)
# A dozen readers have the token and read nothing of what never ends, or is large; the others of the login.
_UNREAD = (
    *[(_ASK % "/stream.mjpg").encode()] * 6,
    *[(_ASK % "/api/records.json?newest=10000").encode()] * 6,
    *[b"GET /login HTTP/1.1\r\nhost: localhost\r\n\r\n"] * (_CONNECTIONS - 12),
)
_LOADS: dict[str, Callable[[int], bytes]] = {
    "idle": lambda number: b"",
    "drip": lambda number: b"",
    "misuse": lambda number: _MISUSE[number % len(_MISUSE)],
    "unread": lambda number: _UNREAD[number % len(_UNREAD)],
    "elsewhere": lambda number: _MISUSE[number % len(_MISUSE)],
}


def hold(port: int, kind: str) -> None:
    """Hold five hundred connections from another address of this machine; each comes back when it is cut."""
    selector, unread = selectors.DefaultSelector(), list[socket.socket]()
    started, attempts, dripped_at = time.monotonic(), 0, 0.0
    while True:
        allowed = _CONNECTIONS + _ATTEMPTS_PER_S * (time.monotonic() - started)
        while len(selector.get_map()) + len(unread) < _CONNECTIONS and attempts < allowed:
            client = _connect(port)
            client.send(_LOADS[kind](attempts))
            attempts += 1
            if kind == "unread":
                unread.append(client)
            else:
                selector.register(client, selectors.EVENT_READ)
        for key, _ in selector.select(0.05):
            if not _read(key.fileobj):
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]  # a socket
        if kind == "drip" and time.monotonic() - dripped_at > _DRIP_S:
            dripped_at = time.monotonic()
            for key in list(selector.get_map().values()):
                with suppress(OSError):
                    key.fileobj.send(b"x")  # type: ignore[union-attr]  # a socket


def be_dummy(port: int) -> None:
    """A server that has nothing to do with the stream and refuses everybody: what clients cost the machine itself."""
    listener = socket.create_server(("127.0.0.1", port + 1), backlog=1024)
    while True:
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.settimeout(0.05)
            client.recv(1 << 17)
            client.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def _connect(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind(("127.0.0.2", 0))
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


def _read(client: Any) -> bool:
    """Whether a connection goes on."""
    try:
        return bool(client.recv(1 << 16))
    except BlockingIOError:
        return True
    except OSError:
        return False


def watch(port: int, viewers: int) -> None:
    """Watch as the page does: the state, and one picture after the other."""
    states = [_get(port, "/api/live") for _ in range(viewers)]
    pictures = [http.client.HTTPConnection("127.0.0.1", port) for _ in states]
    serials = ["0"] * viewers
    while states:
        for number, connection in enumerate(pictures):
            connection.request("GET", f"/api/picture?after={serials[number]}", headers=_BEARER)
        for number, connection in enumerate(pictures):
            response = connection.getresponse()
            serials[number] = response.getheader("x-serial") or serials[number]
            response.read()


def probe(port: int) -> None:
    """Ask for frames and come as a viewer, again and again; print how long each took, in seconds."""
    number = 0
    while True:
        number += 1
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/trigger", headers=_BEARER)
        assert connection.getresponse().status in (202, 409)
        print("trigger", time.perf_counter() - started, flush=True)
        connection.close()
        if number % 2 == 0:
            started = time.perf_counter()
            state = _get(port, "/api/live")
            while not state.readline().startswith(b"data: "):
                pass
            assert _get(port, "/api/picture").read(2) == b"\xff\xd8"
            print("viewer", time.perf_counter() - started, flush=True)
            state.close()
        time.sleep(0.1)


def _get(port: int, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=_BEARER)
    return connection.getresponse()


def be_client(kind: str) -> None:
    """Do what this kind of client does, at the port that stdin gives, until the stream ends."""
    if kind != "probe":
        with suppress(OSError):
            os.nice(19)  # what the clients themselves cost is not the server's
    port = int(sys.stdin.readline())
    with suppress(OSError, http.client.HTTPException):  # the stream has ended
        if kind == "probe":
            probe(port)
        elif kind == "dummy":
            be_dummy(port)
        elif kind.endswith("viewers"):
            watch(port, int(kind.split()[0]))
        else:
            hold(port + (kind == "elsewhere"), kind)


if __name__ == "__main__":
    be_client(sys.argv[1])
