"""Connections that are counted, and cut when they keep the server waiting.

uvicorn times nothing but the pause between two requests: a client that sends its headers byte by byte, or never reads
what it asked for, would keep its connection for ever.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_ad.streaming.web.crowd import Crowd
from edge_ad.streaming.web.limits import Limits

__all__ = ["Connection", "Connections"]

Make = Callable[[], "Connection"]


class Connections:
    """All connections of one server, from the door on; used in the server's thread only.

    Args:
        limits: What is allowed.
        crowd: Where a connection is counted until it ends.
    """

    def __init__(self, limits: Limits, crowd: Crowd) -> None:
        self.limits = limits
        self._crowd = crowd
        self._open: dict[tuple[str, int], Connection] = {}
        self._opening: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self) -> type[Connection]:
        """The class for uvicorn to make connections of."""
        return type("CountedConnection", (Connection,), {"connections_of_page": self})

    def take(self, make: Make, guest: socket.socket, peer: tuple[str, int], content: bytes) -> None:
        """Go on with a connection that the door lets in.

        Args:
            make: Makes a `Connection`.
            guest: The connection.
            peer: Its address and port.
            content: What it has sent so far.
        """
        task = asyncio.get_running_loop().create_task(self._take(make, guest, peer, content))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def join(self, connection: Connection, client: tuple[str, int]) -> None:
        """Note one that is open."""
        self._open[client] = connection

    def leave(self, client: tuple[str, int]) -> None:
        """Forget it."""
        if self._open.pop(client, None) is not None:
            self._crowd.leave(client[0])

    def busy(self, client: Any, is_busy: bool) -> None:
        """Note that a request has come in, or was answered."""
        if (connection := self._open.get(client)) is not None:
            connection.expect_nothing() if is_busy else connection.expect_request()

    def abort(self) -> None:
        """Cut all connections."""
        for connection in list(self._open.values()):
            connection.transport.abort()

    async def _take(self, make: Make, guest: socket.socket, peer: tuple[str, int], content: bytes) -> None:
        def greet() -> Connection:
            connection = make()
            connection.peer, connection.sent_before = peer, content
            return connection

        try:
            await asyncio.get_running_loop().connect_accepted_socket(greet, guest)
        except OSError:  # it is gone meanwhile
            guest.close()
            self._crowd.leave(peer[0])


class Connection(H11Protocol):
    """One connection, with a time limit for what the client has to do next."""

    connections_of_page: ClassVar[Connections]
    peer: tuple[str, int] = ("", 0)
    sent_before: bytes = b""
    _timer: asyncio.TimerHandle | None = None
    _is_busy = False
    _waiting_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with what the door has heard."""
        self._transport = transport
        self.connections_of_page.join(self, self.peer)
        super().connection_made(transport)
        self.expect_request()
        self.data_received(self.sent_before)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._cancel()
        self.connections_of_page.leave(self.peer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        self._wait(self.connections_of_page.limits.stall_s)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self.expect_nothing() if self._is_busy else self.expect_request()

    def expect_request(self) -> None:
        """From now on the client has to send a request."""
        self._is_busy = False
        self._wait(self.connections_of_page.limits.idle_s)

    def expect_nothing(self) -> None:
        """It is the server's turn."""
        self._is_busy = True
        self._cancel()

    def _wait(self, seconds: float) -> None:
        self._cancel()
        self._waiting_bytes = self._transport.get_write_buffer_size()
        self._timer = self.loop.call_later(seconds, self._give_up, seconds)

    def _give_up(self, seconds: float) -> None:
        if 0 < self._transport.get_write_buffer_size() < self._waiting_bytes:
            self._wait(seconds)  # slow, but it reads
        else:
            self._transport.abort()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
