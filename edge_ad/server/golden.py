"""The routes of the golden check: begin it, name the next master part, sign, waive."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_ad.errors import UsageError
from edge_ad.server.requests import json_object, json_response, who
from edge_ad.server.state import PageState

__all__ = ["golden_routes"]

_LONGEST_REASON = 200


def golden_routes(state: PageState) -> list[Route]:
    """The routes of the golden check.

    Args:
        state: Has the handle on the stream.
    """

    async def show(request: Request) -> Response:
        return json_response(state.control.golden.facts())

    async def begin(request: Request) -> Response:
        state.control.golden.begin(who(request, await json_object(request)))
        return json_response(state.control.golden.facts())

    async def name_part(request: Request) -> Response:
        body = await json_object(request, "part")
        state.control.golden.name_next(_line(body.get("part"), "part"), who(request, body))
        return json_response(state.control.golden.facts())

    async def sign(request: Request) -> Response:
        state.control.golden.sign(who(request, await json_object(request)))
        return json_response(state.control.golden.facts())

    async def waive(request: Request) -> Response:
        body = await json_object(request, "why")
        state.control.golden.waive(who(request, body), _line(body.get("why"), "why"))
        return json_response(state.control.golden.facts())

    changes = {"begin": begin, "part": name_part, "sign": sign, "waive": waive}
    return [
        Route("/api/golden", show, methods=["GET"]),
        *(Route(f"/api/golden/{name}", change, methods=["POST"]) for name, change in changes.items()),
    ]


def _line(given: object, name: str) -> str:
    text = " ".join(given.split()) if isinstance(given, str) else ""
    if not 0 < len(text) <= _LONGEST_REASON or not text.isprintable():
        raise UsageError(f"{name} must be a line of 1 to {_LONGEST_REASON} characters.")
    return text
