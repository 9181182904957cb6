"""The live page as a sink of the stream."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.listen_address import parse_address
from edge_ad.server.access import Limits
from edge_ad.server.feed import Feed
from edge_ad.server.pictures import PictureThread
from edge_ad.server.server import HttpServer, Part
from edge_ad.server.state import PageState
from edge_ad.server.users import User
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Result, Unjudged
from edge_ad.streaming.records.corrections import CorrectionStore
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

__all__ = ["PageSink", "web_sink"]


class PageSink(Sink, Part):
    """Serves the live page while the stream runs.

    `write` only stores the frame. A separate thread draws pictures, and only while somebody watches.

    Args:
        server: What serves it.
        address: Where: ``HOST:PORT``, or a part of it; 127.0.0.1:8080 if empty.
        database: The database that another sink writes the records to, for its export.
        corrections: Folder for frames whose verdict a viewer corrects; None takes no corrections.

    Raises:
        UsageError: The address cannot be used, or ``corrections`` is a file.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    needs_picture = False
    delivery = "lossy"

    def __init__(
        self, server: HttpServer, address: str = "", *, database: Path | None = None, corrections: Path | None = None
    ) -> None:
        self._server, self._database = server, database
        self._corrections = None if corrections is None else CorrectionStore(corrections)
        has_database = database is not None
        self._state = PageState(StreamControl(), "", has_database=has_database, corrections=self._corrections)
        self._pictures = PictureThread(self._state, lambda: self._feed.tell_picture())
        self._feed = Feed(self._state, self._pictures, server.limits.viewers)
        self._is_open = False
        self._where = server.add(self, parse_address(address))

    @property
    def url(self) -> str:
        """Address of the page; port 0 is resolved once the stream has begun."""
        return self._where().url

    @property
    def token(self) -> str | None:
        """Token that opens the page; None when only this machine can reach it and no token was given."""
        return self._server.token_at(self._where())

    @property
    def is_new_token(self) -> bool:
        """Whether the token was made for this run, so that it has to be shown."""
        return self.token is not None and self._server.is_new_token

    @property
    def viewers(self) -> int:
        """Number of pages and MJPEG streams being watched."""
        return self._feed.viewers

    def routes(self) -> Sequence[BaseRoute]:
        """The page, its data, its changes and its downloads."""
        from edge_ad.server.api import change_routes, data_routes, download_routes
        from edge_ad.server.app import page_routes
        from edge_ad.server.confirmations import confirmation_routes
        from edge_ad.server.corrections import correction_routes
        from edge_ad.server.golden import golden_routes
        from edge_ad.server.recipes import recipe_routes
        from edge_ad.server.statistics import statistics_routes

        corrections = [] if self._corrections is None else correction_routes(self._state, self._corrections)
        return [
            *page_routes(),
            *data_routes(self._state, self._feed),
            *change_routes(self._state),
            *recipe_routes(self._state),
            *golden_routes(self._state),
            *corrections,
            *download_routes(self._state, self._database),
            *([] if self._database is None else confirmation_routes(self._database)),
            *([] if self._database is None else statistics_routes(self._database)),
        ]

    async def run(self) -> None:
        """Send viewers the state."""
        await self._feed.run()

    def attach(self, control: StreamControl) -> None:
        """Steer this stream."""
        self._state.control = control

    def begin(self, source: Source) -> None:
        """Start serving.

        Raises:
            DeviceError: The port is in use or may not be used.
            UsageError: The host is not an address of this machine.
        """
        self._state.name, self._state.has_login = source.name, self._server.needs_token_at(self._where())
        self._server.open()
        self._is_open = True
        self._pictures.start()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Show a judged frame.

        Raises:
            DeviceError: The page has ended.
        """
        self._server.check()
        self._pictures.note(self._state.add(result), result)

    def unjudged(self, unjudged: Unjudged) -> None:
        """Show a frame that was not judged."""
        self._server.check()
        self._state.add_unjudged(unjudged)
        self._pictures.note(None, None)

    def event(self, event: Event) -> None:
        """Show an event."""
        self._state.add_event(event)

    def close(self) -> None:
        """Stop serving; may be called twice."""
        if self._is_open:
            self._is_open = False
            self._server.close()
            self._pictures.stop()


def web_sink(
    address: str = "",
    token: str | None = None,
    *,
    database: Path | None = None,
    corrections: Path | None = None,
    users: Collection[User] = (),
    hosts: Collection[str] = (),
    limits: Limits | None = None,
) -> PageSink:
    """The live page on a server of its own, not started yet.

    Args:
        address: ``HOST:PORT``, or a part of it; 127.0.0.1:8080 if empty.
        token: Token that opens the page. Without one, a new one is made when other machines can reach the page;
            show `PageSink.token` once if `PageSink.is_new_token`. Who has it may do everything.
        users: People with tokens and roles of their own; with any, no token is made.
        database: The database that another sink writes the records to, for its export.
        corrections: Folder for frames whose verdict a viewer corrects; None takes no corrections.
        hosts: Further names under which a reverse proxy on this machine makes the page known. With any, the address
            that the proxy forwards is taken for the client's.
        limits: Limits for clients; None for the defaults.

    Raises:
        UsageError: The address, the token or a name cannot be used.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """
    server = HttpServer(token, users=users, hosts=hosts, limits=limits)
    return PageSink(server, address, database=database, corrections=corrections)
