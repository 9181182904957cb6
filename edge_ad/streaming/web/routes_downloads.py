"""Records as files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from edge_ad.streaming.records.csv_text import csv_lines
from edge_ad.streaming.web.board import Board
from edge_ad.streaming.web.ledger import COLUMNS, stored_records
from edge_ad.streaming.web.queries import number
from edge_ad.strict_json import to_json

__all__ = ["download_routes"]

_DEFAULT, _MOST = 1000, 10_000
_DEFAULT_STORED, _MOST_STORED = 100_000, 10_000_000
_STORED_COLUMNS = tuple(name for name in COLUMNS if name != "normalised")


def download_routes(board: Board, database: Path | None) -> list[Route]:
    """Routes of the downloads.

    Args:
        board: Has the newest records.
        database: Of the stream's records; None when it writes none.
    """
    exports = asyncio.Semaphore(1)  # it reads the disk that the stream writes to

    async def as_json(request: Request) -> Response:
        records = board.records(number(request, "newest", default=_DEFAULT, most=_MOST))
        text = "[\n" + ",\n".join(map(to_json, records)) + "\n]\n"
        return _file(text, "json", "application/json")

    async def as_csv(request: Request) -> Response:
        records = board.records(number(request, "newest", default=_DEFAULT, most=_MOST))
        return _file(csv_lines(records, COLUMNS, has_header=True), "csv", "text/csv")

    async def stored(request: Request) -> Response:
        newest = number(request, "newest", default=_DEFAULT_STORED, most=_MOST_STORED)
        if database is None:
            return PlainTextResponse("This stream writes no database of records.\n", 404)
        if exports.locked():
            return PlainTextResponse("Another export is under way; try again later.\n", 503)
        if request.method == "HEAD":  # the disk is not read for the headers alone
            return StreamingResponse(iter(()), headers=_attachment("csv"), media_type="text/csv")
        pages = stored_records(database, newest)
        async with exports:  # a database that cannot be read is said before anything is sent
            first = await asyncio.to_thread(_next_page, pages)
        return StreamingResponse(_stored(first, pages, exports), headers=_attachment("csv"), media_type="text/csv")

    answers = {"/api/records.json": as_json, "/api/records.csv": as_csv, "/api/database.csv": stored}
    return [Route(path, answer, methods=["GET"]) for path, answer in answers.items()]


async def _stored(
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


def _file(text: str, ending: str, media_type: str) -> Response:
    return Response(text, headers=_attachment(ending), media_type=media_type)


def _attachment(ending: str) -> dict[str, str]:
    now = datetime.fromtimestamp(time.time(), timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return {"content-disposition": f'attachment; filename="edge-ad-records-{now}.{ending}"'}
