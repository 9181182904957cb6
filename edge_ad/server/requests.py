"""What requests of the page ask for: numbers, choices, JSON and who asks; and answers in JSON."""

from __future__ import annotations

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from edge_ad.bundle.documents import parse_json
from edge_ad.errors import UsageError
from edge_ad.registry import did_you_mean
from edge_ad.server.users import LONGEST_NAME, User
from edge_ad.strict_json import to_json

__all__ = ["choice", "finite_number", "json_object", "json_response", "query_number", "view", "who", "whole_number"]

_MOST_SOURCES = 1000


def json_response(value: object) -> Response:
    """JSON that a browser takes: a score that is not finite is null."""
    return Response(to_json(value), media_type="application/json")


def view(request: Request) -> tuple[int, bool]:
    """The index of a source, and whether its picture is wanted without the heat map, from the query."""
    index = whole_number(request, "source", default=0, most=_MOST_SOURCES)
    return index, choice(request, "view", ("overlay", "plain")) == "plain"


def whole_number(request: Request, name: str, *, default: int, most: int) -> int:
    """A whole number from the query."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= most):
        raise UsageError(f"{name} must be a whole number from 0 to {most}.")
    return int(text)


def choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """One of several words from the query; the first one by default."""
    text = request.query_params.get(name, choices[0])
    if text not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}.")
    return text


def query_number(request: Request, name: str) -> float | None:
    """A number from the query; None where there is none."""
    try:
        return float(request.query_params.get(name, ""))
    except ValueError:
        return None


def finite_number(value: object, name: str) -> float:
    """A number of a body as a float.

    Raises:
        UsageError: It is none, or not finite.
    """
    try:
        # A whole number may be larger than any float.
        result = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.nan
    if not math.isfinite(result):
        raise UsageError(f"{name} must be a finite number.")
    return result


async def json_object(request: Request, *names: str) -> dict[str, Any]:
    """The body as an object. Only JSON is taken: a form of another site cannot send it.

    Args:
        request: The request.
        names: What it may have beside ``by``; ``"prepar": true`` must not switch what was only to be prepared.

    Raises:
        UsageError: It is no such object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UsageError("Send JSON, with content-type application/json.")
    try:
        body = parse_json(await request.body())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UsageError("Send a JSON object, with each name once and no NaN.")
    known = ("by", *names)
    for name in body.keys() - set(known):
        raise UsageError(
            f"There is no {name[:40]!r} here.", f"{did_you_mean(name[:40], known)}Known: {', '.join(known)}."
        )
    return body


def who(request: Request, body: dict[str, Any]) -> str:
    """Who asks, for the audit entry, with the client's address.

    The name is that of the token, with its role; of a token that is shared, the one that the request gives.
    """
    address = request.client.host if request.client and request.client.host else "unknown address"
    user: User = request.state.user
    if user.name:
        return f"{user.name} ({user.role.word}, {address})"
    given = body.get("by")
    name = " ".join(given.split()) if isinstance(given, str) else ""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"by must be a name of 1 to {LONGEST_NAME} characters.", "It goes into the audit entry.")
    return f"{name} ({address})"
