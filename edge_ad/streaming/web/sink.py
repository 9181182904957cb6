"""The live page as a sink of the stream."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import require
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result, Unjudged
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.web.access import Access, new_token
from edge_ad.streaming.web.address import Address, listen, parse_address
from edge_ad.streaming.web.board import Board
from edge_ad.streaming.web.limits import Limits

if TYPE_CHECKING:
    from edge_ad.streaming.web.server import PageServer

__all__ = ["WebSink", "web_sink"]


class WebSink(Sink):
    """Serves the live page while the stream runs. Made by `web_sink`.

    `write` only notes the frame; pictures are drawn in the page's own thread, and only while somebody watches.

    Attributes:
        token: What one has to know to see the page; None when this machine only can reach it.
        is_new_token: Whether the token was made for this run, so that it has to be shown.
    """

    needs_picture = False
    delivery = "lossy"

    def __init__(
        self,
        address: Address,
        token: str | None,
        *,
        is_new_token: bool,
        database: Path | None,
        hosts: Collection[str],
        limits: Limits,
    ) -> None:
        self.token = token
        self.is_new_token = is_new_token
        self._address = address
        self._access = Access(token, host=address.host, hosts=hosts, is_public=not address.is_loopback, limits=limits)
        self._database = database
        self._limits = limits
        self._port = address.port
        self._control: StreamControl | None = None
        self._board: Board | None = None
        self._server: PageServer | None = None

    @property
    def url(self) -> str:
        """Where the page is; before the stream begins, port 0 is not known yet."""
        return self._address.url(self._port)

    @property
    def viewers(self) -> int:
        """How many pages and MJPEG streams are watched now."""
        return 0 if self._server is None else self._server.viewers

    def attach(self, control: StreamControl) -> None:
        """Steer this stream."""
        self._control = control

    def begin(self, source: Source) -> None:
        """Start the server.

        Raises:
            DeviceError: The port is in use or may not be used.
            UsageError: The host is not an address of this machine.
        """
        from edge_ad.streaming.web.server import PageServer

        listener = listen(self._address)
        self._port = int(listener.getsockname()[1])
        self._board = Board(
            self._control or StreamControl(),
            source.name,
            has_database=self._database is not None,
            has_login=self._access.needs_token,
        )
        self._server = PageServer(listener, self._board, self._access, self._limits, self._database)
        self._server.start()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Show a judged frame.

        Raises:
            DeviceError: The page has ended.
        """
        assert self._board is not None
        assert self._server is not None
        self._server.check()
        find = self._board.add(result)
        self._server.painter.note(find, result)

    def unjudged(self, unjudged: Unjudged) -> None:
        """Show a frame that was not judged."""
        assert self._board is not None
        assert self._server is not None
        self._server.check()
        self._board.add_unjudged(unjudged)
        self._server.painter.note(None, None)

    def event(self, event: Event) -> None:
        """Show an event."""
        assert self._board is not None
        self._board.add_event(event)

    def close(self) -> None:
        """Stop the server; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()


def web_sink(
    address: str = "",
    token: str | None = None,
    *,
    database: Path | None = None,
    hosts: Collection[str] = (),
    limits: Limits | None = None,
) -> WebSink:
    """The live page, not started yet.

    Args:
        address: ``HOST:PORT``, or a part of it; 127.0.0.1:8080 if empty.
        token: What one has to know to see the page. Without it one is made when other machines can reach the page;
            show `WebSink.token` once if `WebSink.is_new_token`.
        database: The database that another sink writes the records to, for its export.
        hosts: Further names under which a reverse proxy on this machine makes the page known. With any, the address
            that the proxy forwards is taken for the client's.
        limits: How much anybody can ask for; None for the usual.

    Raises:
        UsageError: The address, the token or a name cannot be used.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """
    for module in ("starlette", "uvicorn"):
        require(module, extra="web")
    parsed = parse_address(address)
    is_new_token = token is None and not parsed.is_loopback
    sink = WebSink(
        parsed,
        new_token() if is_new_token else token,
        is_new_token=is_new_token,
        database=database,
        hosts=hosts,
        limits=limits or Limits(),
    )
    listen(parsed).close()  # a port that is in use is said before an engine is loaded
    return sink
