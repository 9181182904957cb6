"""What the page changes: the threshold, and whether frames are judged. Each change names somebody."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_ad.errors import UsageError
from edge_ad.streaming.web.board import Board
from edge_ad.streaming.web.json_response import json_response
from edge_ad.streaming.web.queries import finite, json_object, query_number, who

__all__ = ["steering_routes"]


def steering_routes(board: Board) -> list[Route]:
    """Routes that change the stream, and the one that says what a change would do.

    Args:
        board: Has the handle on the stream.
    """
    control = board.control

    async def preview(request: Request) -> Response:
        value = finite(query_number(request, "value"), "value")
        records = board.records(10_000)
        would_be = sum(_is_ng(record, value) for record in records)
        are = sum(_is_ng(record, control.threshold) for record in records)
        return json_response({"frames": len(records), "defective": would_be, "defective_now": are})

    async def set_threshold(request: Request) -> Response:
        body = await json_object(request)
        value, bundle = finite(body.get("value"), "value"), body.get("bundle")
        if bundle is not None and not isinstance(bundle, str):
            raise UsageError("bundle must be the content hash of a bundle.")
        control.set_threshold(value, by=who(request, body), bundle=bundle)
        return json_response({"threshold": control.threshold})

    async def pause(request: Request) -> Response:
        control.pause(who(request, await json_object(request)))
        return json_response({"paused": control.is_paused})

    async def resume(request: Request) -> Response:
        control.resume(who(request, await json_object(request)))
        return json_response({"paused": control.is_paused})

    return [
        Route("/api/threshold/preview", preview, methods=["GET"]),
        Route("/api/threshold", set_threshold, methods=["POST"]),
        Route("/api/pause", pause, methods=["POST"]),
        Route("/api/resume", resume, methods=["POST"]),
    ]


def _is_ng(record: dict[str, Any], threshold: float) -> bool:
    """Whether a frame would be called defective by another threshold: always without a finite score and map."""
    return bool(record["reason"]) or record["score"] is None or record["score"] > threshold
