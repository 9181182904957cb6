"""The one HTTP server of a stream: an app of all routes, run by granian in a thread with an event loop of its own.

granian reads requests in Rust, without Python's lock: a connection without a whole request costs the stream nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_ad.errors import DeviceError, require
from edge_ad.listen_address import Address, listen
from edge_ad.server.access import Access, Limits
from edge_ad.server.budgets import Budgets
from edge_ad.server.listener import cut_connections, granian_on
from edge_ad.server.users import User, new_token

if TYPE_CHECKING:
    from collections.abc import Collection

    from granian.server.embed import Server
    from starlette.applications import Starlette
    from starlette.routing import BaseRoute

__all__ = ["HttpServer", "Part"]

_LOG = logging.getLogger(__name__)
_START_S = 60.0  # as imports take on a busy small device
_STOP_S = 10.0
_GRACE_S = 0.15  # for answers under way
_LATE_S = 0.05  # for requests that granian had read when it was stopped
_LONGEST_DELAY_S = 10.0


class Part:
    """One part of the server: its routes, and background work.

    Attributes:
        paths: What is served at an address that only this part was given; None for everything.
        has_own_token: Whether all its paths ask for a token of their own.
    """

    paths: frozenset[str] | None = None
    has_own_token: bool = False

    def routes(self) -> Sequence[BaseRoute]:
        """Its routes."""
        return ()

    async def run(self) -> None:
        """Background work in the server's loop; runs until it is cancelled."""
        await asyncio.Event().wait()

    def fail(self, error: DeviceError) -> None:
        """Take the error that ended the server while the stream continues."""


@dataclass
class _Listener:
    address: Address
    paths: frozenset[str] | None
    socket: socket.socket | None = None


class HttpServer:
    """Serves its parts at every address that was named for one of them, while any part is open.

    Args:
        token: What a client must know to see the page, and to get anything at addresses that other machines can
            reach. Without one, clients of this machine need none, and a new one is made for the other addresses; show
            `token` once if `is_new_token`. Who has it may do everything.
        users: People with tokens and roles of their own; with any, no token is made.
        hosts: Further names under which a reverse proxy on this machine makes the page known. With any, the address
            that the proxy forwards is taken for the client's.
        limits: Limits for clients; None for the defaults.

    Attributes:
        limits: Limits for clients.
        access: Who may see and control the stream.

    Raises:
        UsageError: The token or a name cannot be used.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        users: Collection[User] = (),
        hosts: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.access = Access(token, users=users, hosts=hosts, limits=self.limits)
        self._is_given = token is not None or bool(users)
        self._refusals = Budgets(self.limits.refusals_per_s, self.limits.refusals)
        self._listeners: list[_Listener] = []
        self._parts: list[Part] = []
        self._lock = threading.Lock()
        self._users = 0
        self._error: DeviceError | None = None
        self._is_ending: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._is_started = threading.Event()
        self._stop: Callable[[], None] = lambda: None

    @property
    def token(self) -> str | None:
        """What a client must know; None when only this machine can reach the server, or its users have tokens."""
        return self.access.token

    @property
    def has_given_token(self) -> bool:
        """Whether the token, or those of users, were given."""
        return self._is_given

    def token_at(self, address: Address) -> str | None:
        """The token that opens everything at an address of this server; None where none is needed, or there is none."""
        return self.token if self.needs_token_at(address) else None

    def needs_token_at(self, address: Address) -> bool:
        """Whether a client must know a token at an address of this server.

        Not where only this machine reaches it, unless the page is there and tokens were given.
        """
        is_page = any(one.address == address and one.paths is None for one in self._listeners)
        has_any = self.token is not None or bool(self.access.users)
        return has_any and (not address.is_loopback or (self._is_given and is_page))

    @property
    def is_new_token(self) -> bool:
        """Whether the token was made for this run, so that it has to be shown."""
        return self.token is not None and not self._is_given

    @property
    def addresses(self) -> list[Address]:
        """Where it listens; ports that the system chose are known while it is open."""
        return [listener.address for listener in self._listeners]

    def add(self, part: Part, address: Address) -> Callable[[], Address]:
        """Serve a part at an address, which it may share with other parts.

        Returns:
            A function that gives its address, once the system has chosen a port.

        Raises:
            UsageError: The host is not an address of this machine.
            DeviceError: The port is in use.
            MissingDependencyError: The extra ``web`` is not installed.
        """
        for module in ("starlette", "granian", "jinja2"):
            require(module, extra="web")
        listener = self._listener(address)
        if listener is None:
            listen(address, stall_s=self.limits.stall_s).close()  # report a port in use before an engine is loaded
            listener = _Listener(address, part.paths)
            self._listeners.append(listener)
        elif listener.paths is not None:
            listener.paths = None if part.paths is None else listener.paths | part.paths
        self._parts.append(part)
        if self.token is None and not self.access.users and not address.is_loopback and not part.has_own_token:
            self.access.token = new_token()
        return lambda: listener.address

    def _listener(self, address: Address) -> _Listener | None:
        """The listener at an address."""
        for listener in self._listeners:
            if (listener.address.ip, listener.address.port) == (address.ip, address.port) and address.port:
                return listener
        return None

    def describe(self) -> list[str]:
        """Where it listens, and what is served there."""
        return [
            f"{one.address.url} ({'everything' if one.paths is None else ' and '.join(sorted(one.paths))})"
            for one in self._listeners
        ]

    def open(self) -> None:
        """Start serving; each call needs one of `close`.

        Raises:
            DeviceError: A port is in use or may not be used, or the server does not start.
            UsageError: A host is not an address of this machine.
        """
        with self._lock:
            self._users += 1
            if self._users == 1:
                try:
                    self._start()
                except BaseException:
                    self._users = 0
                    raise

    def close(self) -> None:
        """Stop once no part is open: all connections are cut."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if self._users == 0 and self._thread is not None:
                self._stop()
                self._thread.join(_STOP_S)
                self._thread = None

    def check(self) -> None:
        """Raise the error that ended the server while the stream continues.

        Raises:
            DeviceError: Nothing is served any more.
        """
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        self._error = None
        self._is_started.clear()
        try:
            for listener in self._listeners:
                listener.socket = listen(listener.address, stall_s=self.limits.stall_s)
                listener.address = listener.address.at_port(int(listener.socket.getsockname()[1]))
        except BaseException:
            self._close_sockets()
            raise
        self._thread = threading.Thread(target=self._run, name="stream-server", daemon=True)
        self._thread.start()
        if not self._is_started.wait(_START_S) or self._error is not None:
            self._stop()
            raise DeviceError("The HTTP server does not start.") from self._error

    def _close_sockets(self) -> None:
        for listener in self._listeners:
            if listener.socket is not None:
                listener.socket.close()
                listener.socket = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._fail(error)
        finally:
            self._close_sockets()
            self._is_started.set()

    def _fail(self, error: BaseException) -> None:
        _LOG.error("The HTTP server has ended", exc_info=error)
        self._error = DeviceError(f"The HTTP server has ended: {error or type(error).__name__}.")
        self._error.__cause__ = error
        for part in self._parts:
            part.fail(self._error)

    async def _serve(self) -> None:
        from edge_ad.server.app import make_app

        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._is_ending = asyncio.Event()
        self._stop = lambda: _call(loop, stopping.set)
        app = make_app([route for part in self._parts for route in part.routes()])
        servers = [self._granian(app, listener) for listener in self._listeners]
        serving = [asyncio.create_task(server.serve()) for server in servers]
        running = [asyncio.create_task(part.run()) for part in self._parts]
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.sleep(0)
        self._is_started.set()
        try:
            done, _ = await asyncio.wait({waiting, *serving, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                task.result()
                raise DeviceError("it stopped by itself")
        finally:
            await self._end(servers, serving, [*running, waiting])

    async def _end(
        self, servers: list[Any], serving: list[asyncio.Task[None]], running: list[asyncio.Task[Any]]
    ) -> None:
        assert self._is_ending is not None
        self._is_ending.set()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(_GRACE_S)
        for server in servers:
            server.stop()
        pending = set(serving)
        for _ in range(round(_STOP_S / 2 / 0.02)):
            for address in self.addresses:
                cut_connections(address.port)
            _, pending = await asyncio.wait(pending, timeout=0.02)
            if not pending:
                await asyncio.gather(*serving, return_exceptions=True)  # the error that ended it is reported already
                await asyncio.sleep(_LATE_S)
                return

    async def _pace(self, client: str) -> None:
        """Wait until an address may get another refusal; do not wait once the server ends."""
        delay_s = self._refusals.reserve(client, _LONGEST_DELAY_S)
        if delay_s and self._is_ending is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_ending.wait(), delay_s)

    def _granian(self, app: Starlette, listener: _Listener) -> Server:
        """The app at one of the addresses, behind its rules."""
        from edge_ad.server.middleware import AccessMiddleware

        assert listener.socket is not None
        address = listener.address
        needs_token = self.needs_token_at(address)
        access = self.access.at(address.host, address.port, is_loopback=address.is_loopback, needs_token=needs_token)
        guarded = AccessMiddleware(app, access, self.limits, self._pace, listener.paths)
        return granian_on(listener.socket, guarded, self.limits)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(function)
