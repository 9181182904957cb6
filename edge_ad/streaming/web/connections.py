"""Connections that are counted, and cut when they keep the server waiting.

uvicorn times nothing but the pause between two requests: a client that sends its headers byte by byte, or never reads
what it asked for, would keep its connection for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_ad.streaming.web.limits import Limits

__all__ = ["Connection", "Connections"]

_LINGERING = 32  # refused connections that are told so; the others are cut without a word
_LINGER_S = 0.3
_TOO_MANY = "The live page has too many connections.\n"
_REFUSAL = (
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 10\r\n"
    f"content-length: {len(_TOO_MANY)}\r\nconnection: close\r\n\r\n{_TOO_MANY}"
).encode("ascii")


class Connections:
    """All connections of one server; used in the server's thread only.

    Args:
        limits: What is allowed.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[tuple[str, int], Connection] = {}
        self._per_address: Counter[str] = Counter()
        self._refused: set[asyncio.Transport] = set()

    def __len__(self) -> int:
        return len(self._open) + len(self._refused)

    def protocol(self) -> type[Connection]:
        """The class for uvicorn to make connections of."""
        return type("CountedConnection", (Connection,), {"connections_of_page": self})

    def admit(self, connection: Connection, client: tuple[str, int]) -> bool:
        """Count a connection, unless there are too many."""
        is_full = len(self._open) >= self.limits.connections
        if is_full or self._per_address[client[0]] >= self.limits.connections_per_address:
            return False
        self._open[client] = connection
        self._per_address[client[0]] += 1
        return True

    def leave(self, client: tuple[str, int]) -> None:
        """Forget a connection."""
        if self._open.pop(client, None) is not None:
            self._per_address[client[0]] -= 1
            if self._per_address[client[0]] <= 0:
                del self._per_address[client[0]]

    def refuse(self, transport: asyncio.Transport) -> None:
        """Tell a client that there are too many, if there is time to, and cut the connection."""
        if len(self._refused) >= _LINGERING:
            transport.abort()
            return
        self._refused.add(transport)
        transport.write(_REFUSAL)
        asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)

    def forget(self, transport: asyncio.Transport) -> None:
        """Forget a connection that was refused."""
        self._refused.discard(transport)

    def busy(self, client: Any, is_busy: bool) -> None:
        """Note that a request has come in, or was answered."""
        if (connection := self._open.get(client)) is not None:
            connection.expect_nothing() if is_busy else connection.expect_request()

    def abort(self) -> None:
        """Cut all connections."""
        for transport in [*self._refused, *(connection.transport for connection in self._open.values())]:
            transport.abort()


class Connection(H11Protocol):
    """One connection, with a time limit for what the client has to do next."""

    connections_of_page: ClassVar[Connections]
    _timer: asyncio.TimerHandle | None = None
    _is_refused = False
    _is_busy = False
    _waiting_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, or refuse it."""
        peer = transport.get_extra_info("peername")
        self._peer: tuple[str, int] = (str(peer[0]), int(peer[1])) if peer else ("", 0)
        self._transport = transport
        if not self.connections_of_page.admit(self, self._peer):
            self._is_refused = True
            self.connections_of_page.refuse(transport)
            return
        super().connection_made(transport)
        self.expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._is_refused:
            self.connections_of_page.forget(self._transport)
            return
        self._cancel()
        self.connections_of_page.leave(self._peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client sends."""
        if not self._is_refused:
            super().data_received(data)

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
