"""The route that notes of recorded verdicts that the parts were good, or takes that back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge_ad.errors import UsageError
from edge_ad.server.requests import json_object, json_response, who
from edge_ad.streaming.records.confirmation import confirm_records

__all__ = ["confirmation_routes"]


def confirmation_routes(database: Path) -> list[Route]:
    """The route that confirms records.

    Args:
        database: Of the stream's records.
    """

    async def confirm(request: Request) -> Response:
        body = await json_object(request, "ids", "withdraw")
        by, ids, withdraw = who(request, body), body.get("ids"), body.get("withdraw", False)
        if not isinstance(ids, list) or not ids or not all(type(number) is int and number > 0 for number in ids):
            raise UsageError("ids must be the numbers of records, at least one.")
        if not isinstance(withdraw, bool):
            raise UsageError("withdraw must be true or false.")
        changed = await asyncio.to_thread(confirm_records, database, ids, by=by, withdraw=withdraw)
        return json_response({"records": len(set(ids)), "changed": changed})

    return [Route("/api/records/confirm", confirm, methods=["POST"])]
