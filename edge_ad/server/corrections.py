"""The route that takes a person's word on a frame: a false alarm or a defect, of which kind, and where."""

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
from edge_ad.streaming.records.brush import Stroke, parse_strokes, strokes_mask
from edge_ad.streaming.records.corrections import CorrectionStore, Finding, Kept, Label, parse_kind
from edge_ad.streaming.records.labels import CONFIRMED, CORRECTED, WITHDRAWN

__all__ = ["correction_routes"]

_WORDS = {"good": "a false alarm", "defect": "a missed defect"}


def correction_routes(state: PageState, store: CorrectionStore) -> list[Route]:
    """The route that labels a find, and takes that back.

    Args:
        state: Has the finds, their frames and the handle on the stream.
        store: Where the frames go.
    """

    async def label_find(request: Request) -> Response:
        body = await json_object(request)
        number, by = request.path_params["number"], who(request, body)
        found = state.original(number)
        if found is None:
            return PlainTextResponse("That frame is no longer kept.\n", 404)
        find, is_defective, frame = found
        finding, strokes = _finding(body, frame, is_defective=is_defective)
        if body.get("frame") != find.frame:
            raise UsageError("Another frame of this part is shown by now.", "Look at it, and choose again.")
        facts = _facts(find, by, is_defective=is_defective)
        kept = await asyncio.to_thread(store.put, frame, finding, facts, find.source)
        state.mark(number, finding.label, finding.kind)
        if kept.is_new:
            state.control.emit(_event(find, frame, finding, by, facts | _kept_facts(store, kept, finding, strokes)))
        changed = {"label": finding.label, "kind": finding.kind, "changed": kept.is_new}
        return json_response({**changed, **store.counts})

    return [Route("/api/finds/{number:int}/label", label_find, methods=["POST"])]


def _finding(body: dict[str, object], frame: Frame, *, is_defective: bool) -> tuple[Finding, tuple[Stroke, ...]]:
    """What the body says the frame shows; a frame that passed was good or is a missed defect."""
    label, kind = _label(body, is_defective=is_defective), parse_kind(body.get("kind"))
    strokes = parse_strokes(body.get("place"))
    if label != "defect" and (kind or strokes):
        raise UsageError("kind and place are those of a defect.", "Leave them out, or give the label defect.")
    size_hw = frame.image.shape[0], frame.image.shape[1]
    return Finding(label, kind, strokes_mask(strokes, size_hw) if strokes else None), strokes


def _label(body: dict[str, object], *, is_defective: bool) -> Label | None:
    """What the body says the part was, or nothing to take that back."""
    given = body.get("label", "")
    if given is None:
        return None
    if given == "defect":
        return "defect"
    if given == "good" and is_defective:
        return "good"
    choices = "good, defect or null" if is_defective else "defect or null"
    raise UsageError(f"The label of a frame that was called {'defective' if is_defective else 'good'} is {choices}.")


def _facts(find: Find, by: str, *, is_defective: bool) -> dict[str, object]:
    names = ("source", "frame", "path", "at_unix", "score", "threshold", "bundle")
    return {"by": by, "verdict": "NG" if is_defective else "OK"} | {name: getattr(find, name) for name in names}


def _kept_facts(store: CorrectionStore, kept: Kept, finding: Finding, strokes: tuple[Stroke, ...]) -> dict[str, object]:
    """What the records say of the files, so that a later change of one is seen."""
    facts: dict[str, object] = {"pixels": kept.pixels, "folder": str(store.root.resolve())}
    if finding.label is not None:
        facts |= {"kind": finding.kind, "photo": kept.photo, "mask": kept.mask, "sha256": kept.sha256}
        facts["place"] = [stroke.to_json() for stroke in strokes]
    return facts


def _event(find: Find, frame: Frame, finding: Finding, by: str, facts: dict[str, object]) -> Event:
    what = f"Frame {find.frame}" + (f" of part {frame.part}" if frame.part else "")
    if finding.label is None:
        return Event(WITHDRAWN, time.time(), find.source, f"{what}: correction withdrawn by {by}.", facts)
    is_right = (finding.label == "defect") == (facts["verdict"] == "NG")
    words = "a defect" if is_right else _WORDS[finding.label]
    kind = f" ({finding.kind})" if finding.kind else ""
    text = f"{what} marked as {words}{kind} by {by}."
    return Event(
        CONFIRMED if is_right else CORRECTED, time.time(), find.source, text, {"label": finding.label, **facts}
    )
