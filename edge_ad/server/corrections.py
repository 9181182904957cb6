"""The route that takes a person's word on a frame: a false alarm or a defect, of which kind, and where."""

from __future__ import annotations

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from edge_ad.errors import UsageError
from edge_ad.server.history import Find
from edge_ad.server.requests import json_object, json_response, who
from edge_ad.server.state import PageState
from edge_ad.streaming.records.brush import parse_strokes
from edge_ad.streaming.records.corrections import CorrectionStore, Label, parse_kind
from edge_ad.streaming.records.labelling import JudgedFrame, label_frame

__all__ = ["correction_routes"]


def correction_routes(state: PageState, store: CorrectionStore) -> list[Route]:
    """The route that labels a find, and takes that back.

    Args:
        state: Has the finds, their frames and the handle on the stream.
        store: Where the frames go.
    """

    async def label_find(request: Request) -> Response:
        body = await json_object(request, "label", "frame", "kind", "place")
        number, by = request.path_params["number"], who(request, body)
        found = state.original(number)
        if found is None:
            return PlainTextResponse("That frame is no longer kept.\n", 404)
        find, is_defective, frame = found
        label, kind, place = _label(body, is_defective=is_defective), parse_kind(body.get("kind")), body.get("place")
        strokes = parse_strokes(place)
        if label != "defect" and (kind or strokes):
            raise UsageError("kind and place are those of a defect.", "Leave them out, or give the label defect.")
        if body.get("frame") != find.frame:
            raise UsageError("Another frame of this part is shown by now.", "Look at it, and choose again.")
        judged = _judged(find, is_defective=is_defective)
        work = partial(label_frame, store, frame, judged, label=label, by=by, kind=kind, place=strokes)
        kept, event = await asyncio.to_thread(work)
        state.mark(number, label, kind)
        if event is not None:
            state.control.emit(event)
        return json_response({"label": label, "kind": kind, "changed": kept.is_new, **store.counts})

    return [Route("/api/finds/{number:int}/label", label_find, methods=["POST"])]


def _label(body: dict[str, object], *, is_defective: bool) -> Label | None:
    """What the body says the part was, or nothing to take that back; what passed was good or is a missed defect."""
    given = body.get("label", "")
    if given is None:
        return None
    if given == "defect":
        return "defect"
    if given == "good" and is_defective:
        return "good"
    choices = "good, defect or null" if is_defective else "defect or null"
    raise UsageError(f"The label of a frame that was called {'defective' if is_defective else 'good'} is {choices}.")


def _judged(find: Find, *, is_defective: bool) -> JudgedFrame:
    verdict = "NG" if is_defective else "OK"
    place = find.source, find.frame, find.path, find.at_unix
    return JudgedFrame(verdict, *place, find.score, find.threshold, find.bundle)
