"""Routes of the page's data: what it shows, what it changes, and downloads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge_ad.errors import UsageError
from edge_ad.server.feed import BOUNDARY, Feed
from edge_ad.server.requests import (
    choice,
    finite_number,
    json_object,
    json_response,
    query_number,
    view,
    who,
    whole_number,
)
from edge_ad.server.state import SPANS, PageState
from edge_ad.streaming.records.export import csv_lines
from edge_ad.streaming.records.reader import RecordReader
from edge_ad.strict_json import to_json

__all__ = ["change_routes", "data_routes", "download_routes", "stored_records"]

COLUMNS = (
    "time", "source", "frame", "verdict", "reason", "score", "threshold", "normalised", "latency_ms", "age_ms",
    "bundle", "path", "recipe", "recipe_hash",
)  # fmt: skip
_EVENTS = "text/event-stream"
_UNBUFFERED = {"x-accel-buffering": "no"}  # otherwise nginx would buffer it
_LONGEST_WAIT_S = 5.0
_MOST_SOURCES = 1000
_PIECE = 50  # records
_DEFAULT, _MOST = 1000, 10_000
_DEFAULT_STORED, _MOST_STORED = 100_000, 10_000_000
_STORED_COLUMNS = tuple(name for name in COLUMNS if name != "normalised")


def data_routes(state: PageState, feed: Feed) -> list[Route]:
    """Routes that change nothing.

    Args:
        state: What there is to show.
        feed: What is sent live.
    """
    return [*_live_routes(feed), *_kept_routes(state)]


def _live_routes(feed: Feed) -> list[Route]:
    async def live(request: Request) -> Response:
        return _Watch(feed, _while_logged_in(request, feed.states()), media_type=_EVENTS)

    async def motion(request: Request) -> Response:
        index, is_plain = view(request)
        pictures = _while_logged_in(request, feed.motion(index, is_plain=is_plain))
        return _Watch(feed, pictures, media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    async def picture(request: Request) -> Response:
        index, is_plain = view(request)
        after = whole_number(request, "after", default=0, most=10**15)
        found = await feed.picture(index, is_plain=is_plain, after=after, longest_s=_LONGEST_WAIT_S)
        if found is None:
            return Response(status_code=204)
        return Response(found.jpeg, media_type="image/jpeg", headers={"x-serial": str(found.serial)})

    return _reading({"/api/live": live, "/stream.mjpg": motion, "/api/picture": picture})


def _kept_routes(state: PageState) -> list[Route]:
    async def trend(request: Request) -> Response:
        slice_s, count = SPANS[span := choice(request, "span", tuple(SPANS))]
        rows = state.trend(whole_number(request, "source", default=0, most=_MOST_SOURCES), span)
        return json_response({"slice_s": slice_s, "seconds": slice_s * count, "rows": rows})

    async def finds(request: Request) -> Response:
        return json_response(state.finds())

    async def find(request: Request) -> Response:
        kind = choice(request, "kind", ("overlay", "plain", "thumbnail"))
        jpeg = state.find_picture(request.path_params["number"], kind)
        if jpeg is None:
            return PlainTextResponse("That picture is no longer kept.\n", 404)
        return Response(jpeg, media_type="image/jpeg")

    async def passes(request: Request) -> Response:
        return json_response(state.passes())

    async def parts(request: Request) -> Response:
        return json_response(state.parts())

    async def events(request: Request) -> Response:
        return json_response(state.events())

    return _reading(
        {
            "/api/trend": trend,
            "/api/finds": finds,
            "/api/finds/{number:int}": find,
            "/api/passes": passes,
            "/api/parts": parts,
            "/api/events": events,
        }
    )


def _reading(answers: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> list[Route]:
    return [Route(path, answer, methods=["GET"]) for path, answer in answers.items()]


def change_routes(state: PageState) -> list[Route]:
    """Routes that change the stream, each with a name for the audit, and one that previews a change.

    Args:
        state: Has the handle on the stream.
    """

    async def preview(request: Request) -> Response:
        value = finite_number(query_number(request, "value"), "value")
        records = state.records(_MOST)
        would_be = sum(_is_ng(record, value) for record in records)
        are = sum(_is_ng(record, state.control.threshold) for record in records)
        return json_response({"frames": len(records), "defective": would_be, "defective_now": are})

    async def set_threshold(request: Request) -> Response:
        body = await json_object(request, "value", "bundle")
        value, bundle = finite_number(body.get("value"), "value"), body.get("bundle")
        if bundle is not None and not isinstance(bundle, str):
            raise UsageError("bundle must be the content hash of a bundle.")
        state.control.set_threshold(value, by=who(request, body), bundle=bundle)
        return json_response({"threshold": state.control.threshold})

    async def pause(request: Request) -> Response:
        state.control.pause(who(request, await json_object(request)))
        return json_response({"paused": state.control.is_paused})

    async def resume(request: Request) -> Response:
        state.control.resume(who(request, await json_object(request)))
        return json_response({"paused": state.control.is_paused})

    return [
        Route("/api/threshold/preview", preview, methods=["GET"]),
        Route("/api/threshold", set_threshold, methods=["POST"]),
        Route("/api/pause", pause, methods=["POST"]),
        Route("/api/resume", resume, methods=["POST"]),
    ]


def download_routes(state: PageState, database: Path | None) -> list[Route]:
    """Routes of the records as files.

    Args:
        state: Has the newest records.
        database: Of the stream's records; None when it writes none.
    """
    pieces, exports = _Pieces(), asyncio.Semaphore(1)  # an export reads the disk that the stream writes to

    async def as_json(request: Request) -> Response:
        records = state.records(whole_number(request, "newest", default=_DEFAULT, most=_MOST))
        return _file(pieces.json(records), "json", "application/json")

    async def as_csv(request: Request) -> Response:
        records = state.records(whole_number(request, "newest", default=_DEFAULT, most=_MOST))
        return _file(pieces.csv(records), "csv", "text/csv")

    async def stored(request: Request) -> Response:
        newest = whole_number(request, "newest", default=_DEFAULT_STORED, most=_MOST_STORED)
        if database is None:
            return PlainTextResponse("This stream writes no database of records.\n", 404)
        if exports.locked():
            return PlainTextResponse("Another export is under way; try again later.\n", 503)
        if request.method == "HEAD":  # the headers alone need no reading of the disk
            return _file(pieces.csv([]), "csv", "text/csv")
        pages = stored_records(database, newest)
        async with exports:  # report a database that cannot be read before anything is sent
            first = await asyncio.to_thread(_next_page, pages)
        return _file(_export(first, pages, exports), "csv", "text/csv")

    return _reading({"/api/records.json": as_json, "/api/records.csv": as_csv, "/api/database.csv": stored})


def stored_records(path: Path, newest: int) -> Generator[list[dict[str, Any]], None, None]:
    """The newest records of a database, oldest first, a page at a time.

    No transaction is open between two pages, so that the stream can keep writing and cleaning up.

    Args:
        path: The database.
        newest: How many.

    Raises:
        DataError: There is none, it is no database of records, or it holds what no stream writes.
    """
    with RecordReader(path) as reader:
        yield from reader.pages(newest)


class _Watch(StreamingResponse):
    """A stream to one viewer; `Busy` when there are too many."""

    def __init__(self, feed: Feed, content: AsyncIterator[bytes], *, media_type: str) -> None:
        super().__init__(content, headers=_UNBUFFERED, media_type=media_type)
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._feed.viewer(gets_states=self.media_type == _EVENTS):
            await super().__call__(scope, receive, send)


async def _while_logged_in(request: Request, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The content until the logout; nothing for HEAD, which would never end."""
    if request.method == "HEAD":
        return
    async for piece in content:
        if not request.state.access.goes_on(request.headers):
            return
        yield piece


async def _export(
    text: str, pages: Generator[list[dict[str, Any]], None, None], exports: asyncio.Semaphore
) -> AsyncIterator[str]:
    async with exports:
        try:
            yield csv_lines([], _STORED_COLUMNS, has_header=True)
            while text:
                yield text
                text = await asyncio.to_thread(_next_page, pages)
        finally:
            pages.close()


def _next_page(pages: Generator[list[dict[str, Any]], None, None]) -> str:
    return csv_lines(next(pages, []), _STORED_COLUMNS, has_header=False)


class _Pieces:
    """Makes downloads chunk by chunk, as they are read; all together use at most a tenth of a core."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def json(self, records: list[dict[str, Any]]) -> AsyncIterator[str]:
        """A list of objects, one per line."""
        before = "[\n"
        async for text in self._made(records, lambda rows: ",\n".join(map(to_json, rows))):
            yield before + text
            before = ",\n"
        yield "\n]\n" if records else "[\n\n]\n"

    async def csv(self, records: list[dict[str, Any]]) -> AsyncIterator[str]:
        """A table with its header."""
        yield csv_lines([], COLUMNS, has_header=True)
        async for text in self._made(records, lambda rows: csv_lines(rows, COLUMNS, has_header=False)):
            yield text

    async def _made(
        self, records: list[dict[str, Any]], make: Callable[[list[dict[str, Any]]], str]
    ) -> AsyncIterator[str]:
        for start in range(0, len(records), _PIECE):
            async with self._turn:
                started = time.perf_counter()
                text = make(records[start : start + _PIECE])
                await asyncio.sleep(9 * (time.perf_counter() - started))
            yield text


def _file(pieces: AsyncIterator[str], ending: str, media_type: str) -> Response:
    now = datetime.fromtimestamp(time.time(), timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    named = {"content-disposition": f'attachment; filename="edge-ad-records-{now}.{ending}"'}
    return StreamingResponse(pieces, headers=named, media_type=media_type)


def _is_ng(record: dict[str, Any], threshold: float) -> bool:
    """Whether a frame would be called defective by another threshold: always without a finite score and map."""
    return bool(record["reason"]) or record["score"] is None or record["score"] > threshold
