"""Answers in JSON that a browser takes: a score that is not finite is null."""

from __future__ import annotations

from starlette.responses import Response

from edge_ad.strict_json import to_json

__all__ = ["json_response"]


def json_response(value: object) -> Response:
    """A value as JSON."""
    return Response(to_json(value), media_type="application/json")
