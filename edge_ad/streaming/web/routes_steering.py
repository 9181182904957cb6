"""What the page changes: the threshold, and whether frames are judged. Each change names somebody."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edge_ad.streaming.web.board import Board
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
        now = control.threshold
        scores = [record["score"] for record in board.records(10_000)]
        # What cannot be compared is defective: no score, or a threshold that is not finite.
        would_be = sum(score is None or not score <= value for score in scores)
        are = sum(score is None or not math.isfinite(now) or score > now for score in scores)
        return JSONResponse({"frames": len(scores), "defective": would_be, "defective_now": are})

    async def set_threshold(request: Request) -> Response:
        body = await json_object(request)
        control.set_threshold(finite(body.get("value"), "value"), by=who(request, body))
        return JSONResponse({"threshold": control.threshold})

    async def pause(request: Request) -> Response:
        control.pause(who(request, await json_object(request)))
        return JSONResponse({"paused": control.is_paused})

    async def resume(request: Request) -> Response:
        control.resume(who(request, await json_object(request)))
        return JSONResponse({"paused": control.is_paused})

    return [
        Route("/api/threshold/preview", preview, methods=["GET"]),
        Route("/api/threshold", set_threshold, methods=["POST"]),
        Route("/api/pause", pause, methods=["POST"]),
        Route("/api/resume", resume, methods=["POST"]),
    ]
