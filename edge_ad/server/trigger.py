"""The HTTP trigger: ``POST /trigger?id=…`` asks for a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from edge_ad.credentials import TRIGGER_TOKEN, credential
from edge_ad.errors import UsageError
from edge_ad.server.listener import parse_address
from edge_ad.server.server import HttpServer, Part
from edge_ad.streaming.triggers.base import AskedTrigger

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

__all__ = ["HttpTrigger", "http_trigger"]

_HIGHEST_PORT = 65535
_LONGEST_ID = 200


class HttpTrigger(AskedTrigger, Part):
    """``POST /trigger`` has the next frame judged and answers 202; 409 while another id waits for its frame.

    Where only this machine can reach it, it needs no token. Elsewhere a request must carry
    ``Authorization: Bearer TOKEN``, with the trigger's token or the server's.

    Args:
        server: What serves it.
        address: ``HOST:PORT``; port 0 takes a free one.
        token: Secret that a request must carry; empty for none besides the server's.

    Raises:
        UsageError: Other machines can reach it, and it has no token.
        DeviceError: The port is in use.
        MissingDependencyError: The extra ``web`` is not installed.
    """

    paths = frozenset({"/trigger"})

    def __init__(self, server: HttpServer, address: str, token: str = "") -> None:
        super().__init__()
        parsed = parse_address(address, port=8081, option="--trigger")
        if not parsed.is_loopback and not token and not server.has_given_token:
            raise UsageError(
                f"A trigger that listens at {parsed.host} needs a token.",
                f"Set {TRIGGER_TOKEN}, or write http:{parsed.port} for this machine only.",
            )
        self._server, self._is_open = server, False
        self.has_own_token = bool(token)
        if token:
            server.access.accept_at("/trigger", token)
        self._where = server.add(self, parsed)

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._where().port

    def open(self) -> None:
        """Listen."""
        self._server.open()
        self._is_open = True

    def close(self) -> None:
        """Stop listening."""
        if self._is_open:
            self._is_open = False
            self._server.close()

    def fail(self, error: Exception) -> None:
        """Note that no further request can come."""
        AskedTrigger.fail(self, error)

    def routes(self) -> Sequence[BaseRoute]:
        """``POST /trigger``."""
        from starlette.routing import Route

        return [Route("/trigger", self._answer, methods=["POST"])]

    async def _answer(self, request: Request) -> Response:
        from starlette.responses import PlainTextResponse

        status, text = self._ask(request.query_params.get("id", ""), request.headers.get("origin"))
        return PlainTextResponse(f"{text}\n", status)

    def _ask(self, identity: str, origin: str | None) -> tuple[int, str]:
        if origin is not None:
            return 403, "No web page may trigger."
        if len(identity) > _LONGEST_ID or not identity.isprintable():
            return 400, f"An id has {_LONGEST_ID} printable characters at most."
        if not self.ask(identity):
            return 409, f"Another id still waits for its frame: {self.last_id}."
        return 202, "The next frame is judged."


def http_trigger(text: str, server: HttpServer | None = None) -> HttpTrigger:
    """Parse the value of ``--trigger http:``: ``PORT`` or ``HOST:PORT``, with ``?token=SECRET`` or its variable.

    Args:
        text: What follows ``http:``.
        server: What serves it; None makes one of its own.

    Raises:
        ValueError: It cannot be read.
        UsageError: Other machines can reach it, and it has no token.
        DeviceError: The port is in use.
    """
    address, _, query = text.partition("?")
    host, _, port = address.removeprefix("//").rpartition(":")
    settings = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if not settings.keys() <= {"token"} or not 0 <= int(port) <= _HIGHEST_PORT:
        raise ValueError(text)
    token = settings.get("token") or credential(TRIGGER_TOKEN) or ""
    return HttpTrigger(server or HttpServer(), f"{host}:{int(port)}", token)
