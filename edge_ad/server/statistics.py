"""The page of statistics of what the stream recorded."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from edge_ad.credentials import environment_for_child
from edge_ad.errors import DataError, UsageError

__all__ = ["statistics_routes"]

_LONGEST_S = 60.0
_COMMAND = "from edge_ad.spc.report_process import main; main()"
# The drawings bring their own styles and pictures; there is no script.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def statistics_routes(database: Path) -> list[Route]:
    """The route of the page; one page is made at a time.

    Args:
        database: Of the stream's records.
    """
    turn = asyncio.Semaphore(1)

    async def show(request: Request) -> Response:
        if request.method == "HEAD":
            return HTMLResponse("")
        if turn.locked():
            return PlainTextResponse("Another report is being made; try again.\n", 503, {"retry-after": "5"})
        async with turn:
            page = await asyncio.to_thread(_make, database, dict(request.query_params))
        return HTMLResponse(page, headers={"content-security-policy": _POLICY})

    return [Route("/statistics", show, methods=["GET"])]


def _make(database: Path, fields: Mapping[str, str]) -> str:
    """The page, made by a process of its own.

    Raises:
        UsageError: The fields cannot be used, or what draws the page is not installed.
        DataError: The process does not answer.
    """
    request = json.dumps({"database": str(database), "fields": fields})
    environment = environment_for_child() | {"PYTHONSAFEPATH": "1"}  # import nothing from the current folder
    try:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, request],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_LONGEST_S,
            check=True,
        )
        answer = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise DataError("The report could not be made.", "Choose a shorter period, or see the log.") from error
    if answer["error"]:
        raise UsageError(str(answer["error"]), str(answer["hint"]))
    return str(answer["page"])
