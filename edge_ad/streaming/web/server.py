"""The server of the page, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.streaming.web.access import Access
from edge_ad.streaming.web.board import Board
from edge_ad.streaming.web.connections import Connection, Connections
from edge_ad.streaming.web.cpu_share import CpuShare
from edge_ad.streaming.web.crowd import Crowd
from edge_ad.streaming.web.door import Door
from edge_ad.streaming.web.feed import Busy, Feed
from edge_ad.streaming.web.gate import Gate
from edge_ad.streaming.web.limits import Limits
from edge_ad.streaming.web.login_middleware import LoginMiddleware
from edge_ad.streaming.web.pictures import Painter
from edge_ad.streaming.web.routes_downloads import download_routes
from edge_ad.streaming.web.routes_pages import page_routes
from edge_ad.streaming.web.routes_steering import steering_routes
from edge_ad.streaming.web.routes_watching import BUSY, watching_routes
from edge_ad.streaming.web.rules import Rules

__all__ = ["PageServer"]

_START_S = 10.0
_STOP_S = 10.0
_GRACE_S = 0.15  # for answers under way
_CHECK_S = 0.02
_CALM_CHECK_S = 0.2
_BURST_S = 0.1


class PageServer:
    """Answers on a listening socket until it is stopped.

    Args:
        listener: A listening socket; closed here.
        board: What there is to show.
        access: Who may pass.
        limits: How much anybody can ask for.
        database: Of the stream's records; None when it writes none.
    """

    def __init__(
        self, listener: socket.socket, board: Board, access: Access, limits: Limits, database: Path | None
    ) -> None:
        self._listener, self._board, self._access = listener, board, access
        self._limits, self._database = limits, database
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: Feed | None = None
        self._is_stopping: asyncio.Event | None = None
        self._is_started = threading.Event()
        self._error: BaseException | None = None
        self._gateway: Door | None = None
        self._painter = Painter(board, self._tell_picture)
        self._thread = threading.Thread(target=self._run, name="stream-web-server", daemon=True)

    @property
    def painter(self) -> Painter:
        """Draws what is watched."""
        return self._painter

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return 0 if self._feed is None else self._feed.viewers

    def start(self) -> None:
        """Answer from now on.

        Raises:
            DeviceError: The server does not start.
        """
        self._painter.start()
        self._thread.start()
        if not self._is_started.wait(_START_S) or self._error is not None:
            self.stop()
            raise DeviceError(f"The live page does not start: {self._error or 'no answer'}.") from self._error

    def stop(self) -> None:
        """Cut all connections, close the socket and end the threads."""
        if self._loop is not None and self._is_stopping is not None:
            self._call(self._is_stopping.set)
        self._thread.join(_STOP_S)
        self._painter.stop()
        self._listener.close()

    def check(self) -> None:
        """Raise what ended the page while the stream goes on.

        Raises:
            DeviceError: It is served no more.
        """
        failure = self._error or (None if self._gateway is None else self._gateway.failure)
        if failure is not None:
            raise DeviceError(f"The live page has ended: {failure or type(failure).__name__}.")

    def _tell_picture(self) -> None:
        if self._feed is not None:
            self._call(self._feed.ring_picture)

    def _call(self, function: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop has ended meanwhile
            return

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # raised again by start; later it can only be told
            if self._is_started.is_set():
                logging.getLogger(__name__).exception("The live page has ended")
            self._error = error
        finally:
            self._is_started.set()

    async def _serve(self) -> None:
        self._is_stopping = asyncio.Event()
        self._feed = Feed(self._board, self._painter, self._limits.viewers)
        self._loop = asyncio.get_running_loop()
        crowd = Crowd(self._limits)
        connections = Connections(self._limits, crowd)
        routes = self._routes(self._feed)
        server = uvicorn.Server(self._config(connections, routes))
        tasks = [
            asyncio.create_task(task)
            for task in (server.serve(sockets=[]), self._feed.run(), _stay_modest(connections))
        ]
        door = self._gateway = self._door(server, connections, crowd, routes)
        try:
            await self._wait_for_end(server, door, tasks)
        finally:
            door.close()
            self._feed.close()
            server.should_exit = True
            await asyncio.sleep(_GRACE_S)
            connections.abort()
            tasks[-1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for_end(self, server: uvicorn.Server, door: Door, tasks: list[asyncio.Task[None]]) -> None:
        assert self._is_stopping is not None
        while not server.started and not tasks[0].done():
            await asyncio.sleep(0.01)
        door.open()
        self._is_started.set()
        stopping = asyncio.create_task(self._is_stopping.wait())
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done - {stopping}:
            task.result()

    def _door(self, server: uvicorn.Server, connections: Connections, crowd: Crowd, routes: list[Route]) -> Door:
        loop, config = asyncio.get_running_loop(), server.config

        def make() -> Connection:
            made = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            )
            assert isinstance(made, Connection)
            return made

        def admit(guest: socket.socket, peer: tuple[str, int], content: bytes) -> None:
            loop.call_soon_threadsafe(connections.take, make, guest, peer, content)

        rules = Rules(self._access, self._limits, self._cookie, routes)
        return Door(self._listener, rules.judge, admit, crowd, self._limits)

    @property
    def _cookie(self) -> str:
        return f"edge_ad_{self._listener.getsockname()[1]}"  # cookies do not tell the ports of a host apart

    def _routes(self, feed: Feed) -> list[Route]:
        return [
            *page_routes(self._access, cookie=self._cookie),
            *watching_routes(self._board, feed, lambda headers: self._access.goes_on(headers, self._cookie)),
            *steering_routes(self._board),
            *download_routes(self._board, self._database),
        ]

    def _config(self, connections: Connections, routes: list[Route]) -> uvicorn.Config:
        app = Starlette(routes=routes, exception_handlers={EdgeAdError: _misuse, Busy: _busy})
        app.router.redirect_slashes = False
        return uvicorn.Config(
            Gate(LoginMiddleware(app, self._access, self._cookie), self._access, connections),
            http=connections.protocol(),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,  # what a client does wrong is not news
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=round(self._limits.idle_s) + 1,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=self._limits.header_bytes,
        )


async def _stay_modest(connections: Connections) -> None:
    """Keep the server's thread within its share of a core, whatever is asked of it.

    What is above the share is slept off, in the loop's thread: nothing is read meanwhile, so that the rest waits in
    the kernel or at the client.
    """
    share = CpuShare(connections.limits.cpu_share, _BURST_S)
    while True:
        await asyncio.sleep(_CHECK_S if len(connections) else _CALM_CHECK_S)
        if rest_s := share.rest_s():
            time.sleep(rest_s)


async def _misuse(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)


async def _busy(request: Request, error: Exception) -> Response:
    return PlainTextResponse(BUSY, 503, {"retry-after": "10"})
