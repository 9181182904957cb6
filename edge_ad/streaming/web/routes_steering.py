"""What the page changes: the threshold, and whether frames are judged. Each change names somebody."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_ad.streaming.web.board import Board
from edge_ad.streaming.web.json_response import json_response
from edge_ad.streaming.web.queries import finite, json_object, who

__all__ = ["steering_routes"]


def steering_routes(board: Board) -> list[Route]:
    """Routes that change the stream, and the one that says what a change would do.

    Args:
        board: Has the handle on the stream.
    """
    control = board.control

    async def preview(request: Request) -> Response:
        value = finite(request.query_params.get("value"), "value")
        scores = [record["score"] for record in board.records(10_000)]
        would_be = sum(score is None or score > value for score in scores)
        are = sum(score is None or score > control.threshold for score in scores)
        return json_response({"frames": len(scores), "defective": would_be, "defective_now": are})

    async def set_threshold(request: Request) -> Response:
        body = await json_object(request)
        control.set_threshold(finite(body.get("value"), "value"), by=who(request, body))
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
