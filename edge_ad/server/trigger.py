"""The HTTP trigger: ``POST /trigger?id=…`` asks for a frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from edge_ad.credentials import TRIGGER_TOKEN, credential
from edge_ad.errors import UsageError
from edge_ad.listen_address import parse_address
from edge_ad.server.server import HttpServer, Part
from edge_ad.server.trigger_answers import TriggerAnswers
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.triggers.base import AskedTrigger
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

__all__ = ["HttpTrigger", "http_trigger"]

_HIGHEST_PORT = 65535
_LONGEST_ID = 200
_LONGEST_WAIT_S = 30.0
_TAKEN = 202


class HttpTrigger(AskedTrigger, Part):
    """``POST /trigger`` has the next frame judged and answers 202; 409 while another id waits for its frame.

    With ``wait=SECONDS`` the answer is 200 with the verdict, or 504 where none came in that time.

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
        self._answers: TriggerAnswers | None = None
        self.has_own_token = bool(token)
        if token:
            server.access.accept_at("/trigger", token)
        self._where = server.add(self, parsed)

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._where().port

    def answers(self, sources: int) -> Sink:
        """A sink for the stream, by which the trigger hears of verdicts; ``?wait=`` needs it.

        Args:
            sources: How many sources the stream has.
        """
        self._answers = TriggerAnswers(sources)
        return self._answers

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

        identity, origin = request.query_params.get("id", ""), request.headers.get("origin")
        wait_s = _seconds(request.query_params.get("wait", "0"))
        if wait_s is None:
            return PlainTextResponse(f"wait is a number of seconds, {_LONGEST_WAIT_S:g} at most.\n", 400)
        if wait_s > 0:
            return await self._verdict(identity, origin, wait_s)
        status, text = self._ask(identity, origin)
        return PlainTextResponse(f"{text}\n", status)

    async def _verdict(self, identity: str, origin: str | None, wait_s: float) -> Response:
        from starlette.responses import PlainTextResponse, Response

        if self._answers is None:
            return PlainTextResponse("This trigger does not hear of verdicts.\n", 501)
        with self._answers.waiting(identity) as answer:
            status, text = self._ask(identity, origin)
            if status != _TAKEN:
                return PlainTextResponse(f"{text}\n", status)
            try:
                records = await asyncio.wait_for(answer, wait_s)
            except (TimeoutError, asyncio.TimeoutError):
                return PlainTextResponse(f"No verdict within {wait_s:g} s: the part was not inspected.\n", 504)
        verdict = "OK" if all(record["verdict"] == "OK" for record in records) else "NG"
        answered = {"id": identity, "verdict": verdict, "frames": records}
        return Response(to_json(answered), media_type="application/json")

    def _ask(self, identity: str, origin: str | None) -> tuple[int, str]:
        if origin is not None:
            return 403, "No web page may trigger."
        if len(identity) > _LONGEST_ID or not identity.isprintable():
            return 400, f"An id has {_LONGEST_ID} printable characters at most."
        if not self.ask(identity):
            return 409, f"Another id still waits for its frame: {self.last_id}."
        return _TAKEN, "The next frame is judged."


def _seconds(text: str) -> float | None:
    """A time that may be waited for; None for what is none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_WAIT_S else None


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
