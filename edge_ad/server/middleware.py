"""Checks on every request before it is handled: host, method, size, origin, token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_ad.server.access import Access, Limits, Standing, session_name
from edge_ad.server.users import needed_role

__all__ = ["PUBLIC_PATHS", "AccessMiddleware", "Pace"]

_Take = Callable[[int], bool]
Pace = Callable[[str], Awaitable[None]]

PUBLIC_PATHS = frozenset({"/login", "/static/style.css", "/static/icon.svg"})
_LOG = logging.getLogger(__name__)
_METHODS = ("GET", "HEAD", "POST")
_REFUSALS = frozenset({303, 400, 401, 403, 404, 405, 413, 421, 429, 431})
_POLICY = "content-security-policy"
_HEADERS = {
    _POLICY: (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # without one, browsers hide the origin of a form, which would then be refused
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "server": "edge-ad",
}


class AccessMiddleware:
    """Refuses what may not pass, and adds the headers that protect the page. The app sees the client's address.

    Refusals are limited per address and second; further ones are delayed, so that misuse costs the stream nothing. A
    refusal ends its connection.

    Args:
        app: What answers a request that passes.
        access: Who may pass.
        limits: Limits for clients.
        pace: Waits until an address may have a refusal.
        paths: What is served here; None for everything.
    """

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, pace: Pace, paths: Collection[str] | None) -> None:
        self._app, self._access, self._limits, self._pace, self._paths = app, access, limits, pace, paths
        self._memory = _Memory(limits.held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        peer = str((scope.get("client") or ("",))[0])
        client = self._access.client(peer, ", ".join(headers.getlist("x-forwarded-for")))
        scope = {**scope, "client": (client, 0), "state": {"access": self._access}}
        reply = _Reply(send, self._pace, client)
        try:
            with self._memory.share() as take:
                await self._answer(scope, headers, receive, reply, take)
        except Exception:  # a bug in a route must be reported, and must not end the server
            _LOG.exception("The server could not answer %s %s", scope["method"], scope["path"])
            if not reply.has_started:
                await _line("The live page has a fault.", 500)(scope, receive, reply)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, reply: _Reply, take: _Take) -> None:
        refusal = self._refuse(scope, headers) or self._deny(scope, headers, scope["client"][0])
        if refusal is None and scope["method"] == "POST":
            body = await self._body(receive, take)
            if isinstance(body, Response):
                refusal = body
            else:
                receive = _Replay(body, receive)
        if refusal is not None:
            reply.is_last = True
            await refusal(scope, receive, reply)
        else:
            reply.is_last = self._access.needs_token and scope["path"] in PUBLIC_PATHS
            await self._app(scope, receive, reply)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Why a request is refused whoever sends it; None where it is not."""
        if not self._access.knows_host(headers.get("host")):
            return _line("This page does not answer to that host name; a proxy's name is given with --web-host.", 421)
        if scope["method"] not in _METHODS:
            return _line("Only GET, HEAD and POST.", 405, {"allow": ", ".join(_METHODS)})
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:19]) > self._limits.body_bytes:
            return _line("The body is too long.", 413)
        if scope["method"] == "POST" and not self._access.is_own_origin(headers):
            return _line("Requests from other sites are refused; a proxy's name is given with --web-host.", 403)
        return None

    def _deny(self, scope: Scope, headers: Mapping[str, str], client: str) -> Response | None:
        """Refusal of a client that must log in, has tried too often, or asks for what is not served at this address."""
        access, path = self._access, scope["path"]
        if self._paths is not None and path not in self._paths:
            return _line("There is nothing at this address.", 404)
        if path in PUBLIC_PATHS:
            return None
        standing = access.standing(headers, client, path)
        if standing is Standing.LOGGED_IN:
            return self._check_role(scope, headers)
        # Have the browser drop an ended session: sent with every request, it would use up the budget.
        over = {"set-cookie": f"{access.cookie}=; Max-Age=0; Path=/; HttpOnly; SameSite=strict"}
        forget = over if session_name(headers, access.cookie) else {}
        is_page = path == "/" and scope["method"] != "POST" and "text/html" in headers.get("accept", "")
        if (is_page or path == "/logout") and "authorization" not in headers:  # what a person asks for
            return Response(None, 303, {"location": "/login", **forget})
        if standing is Standing.BLOCKED:
            wait = {"retry-after": str(max(1, access.wait_s(client)))}
            return _line("Too many wrong tokens from this address; try again later.", 429, {**wait, **forget})
        return _line("A token is needed.", 401, {"www-authenticate": 'Bearer realm="edge-ad"', **forget})

    def _check_role(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        """Refusal of a client that is logged in, but may not do that; the app sees who asks."""
        user = scope["state"]["user"] = self._access.user(headers, scope["path"])
        needed = needed_role(scope["method"], scope["path"])
        if user is not None and user.role >= needed:
            return None
        who = "Nobody" if user is None else user.title
        return _line(f"{who} may not do this: it needs the role {needed.word}.", 403)

    async def _body(self, receive: Receive, take: _Take) -> bytes | Response:
        """The whole body, or why it is not taken."""
        try:
            return await asyncio.wait_for(self._read(receive, take), self._limits.body_s)
        except asyncio.TimeoutError:
            return _line("The body is too slow.", 413)

    async def _read(self, receive: Receive, take: _Take) -> bytes | Response:
        body = bytearray()
        while True:
            message = await receive()
            part = message.get("body", b"")
            if message["type"] != "http.request" or len(body) + len(part) > self._limits.body_bytes:
                return _line("The body is too long.", 413)
            if not take(len(part)):
                return _line("Too much is being sent; try again.", 503, {"retry-after": "1"})
            body += part
            if not message.get("more_body", False):
                return bytes(body)


class _Memory:
    """What the bodies of all requests may take.

    Args:
        most_bytes: All together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left_bytes = most_bytes

    @contextmanager
    def share(self) -> Iterator[_Take]:
        """Gives a function that takes so many bytes, or says that there are no more; at the end they are given back."""
        taken = 0

        def take(count: int) -> bool:
            nonlocal taken
            if count > self._left_bytes:  # it is refused, and others go on with what it had
                self._left_bytes, taken = self._left_bytes + taken, 0
                return False
            self._left_bytes -= count
            taken += count
            return True

        try:
            yield take
        finally:
            self._left_bytes += taken


class _Reply:
    """Sends a response with the protecting headers, and a refusal when it is due.

    Attributes:
        has_started: Whether the answer has begun.
        is_last: Whether the connection ends with it.
    """

    def __init__(self, send: Send, pace: Pace, client: str) -> None:
        self.has_started = self.is_last = False
        self._send, self._pace, self._client = send, pace, client

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            if self.is_last or message["status"] in _REFUSALS:
                await self._pace(self._client)
            headers = MutableHeaders(scope=message)
            policy = headers.get(_POLICY, _HEADERS[_POLICY])  # a page of its own kind may have another one
            headers.update({**_HEADERS, _POLICY: policy})
            if self.is_last:
                headers["connection"] = "close"
        await self._send(message)


class _Replay:
    """Replays a body that was read already, then receives what follows."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> dict[str, Any]:
        if self._body is None:
            return dict(await self._receive())
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _line(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)
