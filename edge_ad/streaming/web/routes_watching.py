"""What the page shows: state, pictures, trend, finds, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge_ad.streaming.web.board import SPANS, Board
from edge_ad.streaming.web.feed import BOUNDARY, Busy, Feed
from edge_ad.streaming.web.json_response import json_response
from edge_ad.streaming.web.queries import choice, number

__all__ = ["BUSY", "watching_routes"]

BUSY = "There are as many viewers as there may be; try again later.\n"
_EVENTS = "text/event-stream"
_UNBUFFERED = {"x-accel-buffering": "no"}  # nginx would keep it back until there is more
_LONGEST_WAIT_S = 5.0
_MOST_SOURCES = 1000
_VIEWS = ("overlay", "plain")


def watching_routes(board: Board, feed: Feed, goes_on: Callable[[Mapping[str, str]], bool]) -> list[Route]:
    """Routes that change nothing.

    Args:
        board: What there is to show.
        feed: What is sent as it happens.
        goes_on: Whether a stream that was asked for with these headers may go on: not after the logout.
    """

    async def live(request: Request) -> Response:
        return _Watch(feed, _while(request, goes_on, feed.states()), media_type=_EVENTS)

    async def motion(request: Request) -> Response:
        index, is_plain = _view(request)
        pictures = _while(request, goes_on, feed.motion(index, is_plain=is_plain))
        return _Watch(feed, pictures, media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    async def picture(request: Request) -> Response:
        index, is_plain = _view(request)
        after = number(request, "after", default=0, most=10**15)
        found = await feed.picture(index, is_plain=is_plain, after=after, longest_s=_LONGEST_WAIT_S)
        if found is None:
            return Response(status_code=204)
        return Response(found.jpeg, media_type="image/jpeg", headers={"x-serial": str(found.serial)})

    async def trend(request: Request) -> Response:
        span = choice(request, "span", tuple(SPANS))
        rows = board.trend(number(request, "source", default=0, most=_MOST_SOURCES), span)
        return json_response({"slice_s": SPANS[span][0], "seconds": SPANS[span][0] * SPANS[span][1], "rows": rows})

    async def finds(request: Request) -> Response:
        return json_response(board.finds())

    async def find(request: Request) -> Response:
        jpeg = board.find_picture(
            request.path_params["number"], choice(request, "kind", ("overlay", "plain", "thumbnail"))
        )
        if jpeg is None:
            return PlainTextResponse("That picture is no longer kept.\n", 404)
        return Response(jpeg, media_type="image/jpeg")

    async def events(request: Request) -> Response:
        return json_response(board.events())

    answers = {
        "/api/live": live,
        "/stream.mjpg": motion,
        "/api/picture": picture,
        "/api/trend": trend,
        "/api/finds": finds,
        "/api/finds/{number:int}": find,
        "/api/events": events,
    }
    return [Route(path, answer, methods=["GET"]) for path, answer in answers.items()]


class _Watch(StreamingResponse):
    """A stream to one of the viewers there may be, or the line that there are too many."""

    def __init__(self, feed: Feed, content: AsyncIterator[bytes], *, media_type: str) -> None:
        super().__init__(content, headers=_UNBUFFERED, media_type=media_type)
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._feed.viewer(hears_states=self.media_type == _EVENTS):
                await super().__call__(scope, receive, send)
        except Busy:
            await PlainTextResponse(BUSY, 503, {"retry-after": "10"})(scope, receive, send)


async def _while(
    request: Request, goes_on: Callable[[Mapping[str, str]], bool], content: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The content as long as it may be sent; for HEAD, which would have no end either, none of it."""
    if request.method == "HEAD":
        return
    async for piece in content:
        if not goes_on(request.headers):
            return
        yield piece


def _view(request: Request) -> tuple[int, bool]:
    index = number(request, "source", default=0, most=_MOST_SOURCES)
    return index, choice(request, "view", _VIEWS) == "plain"
