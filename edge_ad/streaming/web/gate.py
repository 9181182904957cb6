"""What every request passes before anything is done for it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_ad.streaming.web.access import Access
from edge_ad.streaming.web.connections import Connections
from edge_ad.streaming.web.refusals import PROTECTING_HEADERS
from edge_ad.streaming.web.rules import METHODS, content_length

__all__ = ["Gate"]

_LOG = logging.getLogger(__name__)


class Gate:
    """Checks host, method, size and origin, in this order, and adds the headers that protect the page.

    The door has checked the first request of a connection; this is for all. Whoever is refused comes through the door
    again with the next request.

    Args:
        app: What answers a request that passes.
        access: Who may pass.
        connections: Whose clocks a request stops.
    """

    def __init__(self, app: ASGIApp, access: Access, connections: Connections) -> None:
        self._app = app
        self._access = access
        self._connections = connections
        self._limits = connections.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        client = scope.get("client")
        self._connections.busy(client, True)
        reply = _Reply(send)
        try:
            await self._answer(scope, receive, reply)
        except Exception:  # a fault in the page must not be silent, and must not end the server
            _LOG.exception("The live page could not answer %s %s", scope["method"], scope["path"])
            if not reply.has_started:
                await PlainTextResponse("The live page has a fault.\n", 500)(scope, receive, reply)
        finally:
            self._connections.busy(client, False)

    async def _answer(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        headers = Headers(scope=scope)
        refusal = self._refuse(scope, headers)
        if refusal is not None:
            reply.is_last = True
            await refusal(scope, receive, reply)
            return
        if scope["method"] == "POST":
            body = await self._body(receive)
            if body is None:
                reply.is_last = True
                await _line("The body is too long or too slow.", 413)(scope, receive, reply)
                return
            receive = _Replay(body, receive)
        await self._app(scope, receive, reply)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        if not self._access.knows_host(headers.get("host")):
            return _line("This page does not answer to that host name; a proxy's name is given with --web-host.", 421)
        if scope["method"] not in METHODS:
            return _line("Only GET, HEAD and POST.", 405, {"allow": ", ".join(METHODS)})
        if _size(scope) > self._limits.header_bytes:
            return _line("The request line and headers are too long.", 431)
        length = content_length(headers.get("content-length", "0"))
        if length is None or length > self._limits.body_bytes:
            return _line("The body is too long.", 413)
        if scope["method"] == "POST" and not self._access.is_own_origin(headers):
            return _line("Requests from other sites are refused; a proxy's name is given with --web-host.", 403)
        return None

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None when it is too long or does not come."""
        try:
            return await asyncio.wait_for(self._read(receive), self._limits.body_s)
        except asyncio.TimeoutError:
            return None

    async def _read(self, receive: Receive) -> bytes | None:
        body = b""
        while True:
            message = await receive()
            body += bytes(message.get("body", b""))
            if message["type"] != "http.request" or len(body) > self._limits.body_bytes:
                return None
            if not message.get("more_body", False):
                return body


class _Reply:
    """Sends with the protecting headers.

    Attributes:
        has_started: Whether the answer has begun.
        is_last: Whether the connection ends with it.
    """

    def __init__(self, send: Send) -> None:
        self.has_started = self.is_last = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            headers = MutableHeaders(scope=message)
            for name, value in PROTECTING_HEADERS.items():
                headers[name] = value
            if self.is_last:
                headers["connection"] = "close"
        await self._send(message)


class _Replay:
    """Receives a body that was read already, then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> dict[str, Any]:
        if self._body is None:
            return dict(await self._receive())
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _size(scope: Scope) -> int:
    lines = [
        scope["raw_path"],
        scope["query_string"],
        *(part for pair in scope["headers"] for part in (*pair, b": \r\n")),
    ]
    return sum(map(len, lines))


def _line(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)
