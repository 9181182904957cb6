"""The route that takes a person's word against a verdict: a false alarm, or a defect that was missed."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_ad.errors import UsageError
from edge_ad.server.history import Find
from edge_ad.server.requests import json_object, json_response, who
from edge_ad.server.state import PageState
from edge_ad.streaming.frame import Event, Frame
from edge_ad.streaming.records.corrections import CorrectionStore, Label

__all__ = ["CORRECTED", "CORRECTION_WITHDRAWN", "correction_routes"]

CORRECTED, CORRECTION_WITHDRAWN = "verdict corrected", "correction withdrawn"
"""Kinds of the events."""

_WORDS = {"good": "a false alarm", "defect": "a missed defect"}


def correction_routes(state: PageState, store: CorrectionStore) -> list[Route]:
    """The route that corrects the verdict on a find, and takes that back.

    Args:
        state: Has the finds, their frames and the handle on the stream.
        store: Where the frames go.
    """

    async def correct(request: Request) -> Response:
        body = await json_object(request)
        number, by = request.path_params["number"], who(request, body)
        found = state.original(number)
        if found is None:
            return PlainTextResponse("That frame is no longer kept.\n", 404)
        find, is_defective, frame = found
        label = _label(body, is_defective=is_defective)
        if body.get("frame") != find.frame:
            raise UsageError("Another frame of this part is shown by now.", "Look at it, and choose again.")
        facts = _facts(find, by)
        is_new = await asyncio.to_thread(store.put, frame, label, facts, find.source)
        state.mark(number, label)
        if is_new:
            state.control.emit(_event(find, frame, label, by, facts))
        return json_response({"label": label, "changed": is_new, **store.counts})

    return [Route("/api/finds/{number:int}/label", correct, methods=["POST"])]


def _label(body: dict[str, object], *, is_defective: bool) -> Label | None:
    """What the body says the part was: the opposite of the verdict, or nothing to take that back."""
    opposite: Label = "good" if is_defective else "defect"
    given = body.get("label", "")
    if given is not None and given != opposite:
        what = "defective" if is_defective else "good"
        raise UsageError(f"The label of a frame that was called {what} is {opposite} or null.")
    return None if given is None else opposite


def _facts(find: Find, by: str) -> dict[str, object]:
    names = ("source", "frame", "path", "at_unix", "score", "threshold", "bundle")
    return {"by": by} | {name: getattr(find, name) for name in names}


def _event(find: Find, frame: Frame, label: Label | None, by: str, facts: dict[str, object]) -> Event:
    what = f"Frame {find.frame}" + (f" of part {frame.part}" if frame.part else "")
    if label is None:
        return Event(CORRECTION_WITHDRAWN, time.time(), find.source, f"{what}: correction withdrawn by {by}.", facts)
    text = f"{what} marked as {_WORDS[label]} by {by}."
    return Event(CORRECTED, time.time(), find.source, text, {"label": label, **facts})
