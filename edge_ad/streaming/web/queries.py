"""What a request says, checked."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.requests import Request

from edge_ad.errors import UsageError

__all__ = ["choice", "finite", "json_object", "number", "query_number", "who"]

_LONGEST_NAME = 40


def number(request: Request, name: str, *, default: int, most: int) -> int:
    """A whole number from the query, from 0 to `most`.

    Raises:
        UsageError: It is something else.
    """
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= most):
        raise UsageError(f"{name} must be a whole number from 0 to {most}.")
    return int(text)


def choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """One of some words from the query; the first if it is not there.

    Raises:
        UsageError: It is none of them.
    """
    text = request.query_params.get(name, choices[0])
    if text not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}.")
    return text


async def json_object(request: Request) -> dict[str, Any]:
    """The body as an object.

    Only JSON is taken: a form of another site cannot send it.

    Raises:
        UsageError: It is no JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UsageError("Send JSON, with content-type application/json.")
    try:
        body = json.loads(await request.body(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UsageError("Send a JSON object.")
    return body


def query_number(request: Request, name: str) -> float | None:
    """A number of any kind from the query; None when it is not there, or something else."""
    try:
        return float(request.query_params.get(name, ""))
    except ValueError:
        return None


def finite(value: object, name: str) -> float:
    """A finite number.

    Raises:
        UsageError: It is something else, such as a text.
    """
    try:
        # A whole number may be larger than any float.
        result = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        result = math.nan
    if not math.isfinite(result):
        raise UsageError(f"{name} must be a finite number.")
    return result


def _refuse(constant: str) -> None:
    """NaN and infinities, which Python reads but JSON does not have."""
    raise ValueError(constant)


def who(request: Request, body: dict[str, Any]) -> str:
    """Who asks, for the audit entry: the name that somebody gave and the address it came from.

    Raises:
        UsageError: There is no name.
    """
    given = body.get("by")
    name = " ".join(given.split()) if isinstance(given, str) else ""
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"by must be a name of 1 to {_LONGEST_NAME} characters.", "It goes into the audit entry.")
    return f"{name} ({request.client.host if request.client else 'unknown address'})"
