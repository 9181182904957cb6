"""Peers that answer slowly, without end, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tests.streaming.results import PATIENCE_S

DRIP_S = 0.05


@contextmanager
def peer(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[tuple[int, threading.Event]]:
    """A server that behaves so to each client, until the end of the block.

    Yields:
        Its port, and an event that is set when a client has connected.
    """
    is_over, is_met = threading.Event(), threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(connection, is_over)

    def serve(listener: socket.socket) -> None:
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                connection, _ = listener.accept()
                connection.settimeout(PATIENCE_S)
                is_met.set()
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        threads = [threading.Thread(target=serve, args=(listener,), daemon=True)]
        threads[0].start()
        try:
            yield listener.getsockname()[1], is_met
        finally:
            is_over.set()
            for thread in list(threads):
                thread.join(PATIENCE_S)


def silent(connection: socket.socket, is_over: threading.Event) -> None:
    """Accepts and says nothing."""
    is_over.wait()


def dripping(start: bytes, drops: Iterable[bytes]) -> Callable[[socket.socket, threading.Event], None]:
    """Sends the start at once and then drop after drop."""

    def behave(connection: socket.socket, is_over: threading.Event) -> None:
        connection.sendall(start)
        for drop in drops:
            if is_over.wait(DRIP_S):
                return
            connection.sendall(drop)
        is_over.wait()

    return behave


def flooding(start: bytes, more: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Sends the start and then the same again and again, as fast as it is taken."""

    def behave(connection: socket.socket, is_over: threading.Event) -> None:
        connection.sendall(start)
        while not is_over.is_set():
            connection.sendall(more)

    return behave
