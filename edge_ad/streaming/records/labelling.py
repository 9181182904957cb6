"""Label a frame: keep it in the folder of corrections, and tell the records with what they need to check it later."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from edge_ad.streaming.frame import Event, Frame, Result
from edge_ad.streaming.records.brush import Stroke, strokes_mask
from edge_ad.streaming.records.corrections import CorrectionStore, Finding, Kept, Label
from edge_ad.streaming.records.labels import CONFIRMED, CORRECTED, WITHDRAWN

__all__ = ["JudgedFrame", "label_frame"]

_WORDS = {"good": "a false alarm", "defect": "a missed defect"}


@dataclass(frozen=True)
class JudgedFrame:
    """What the records say of a frame beside its label.

    Attributes:
        verdict: ``"OK"`` or ``"NG"``.
        source: Name of the source.
        frame: Number of the frame.
        path: The file it comes from; empty when it comes from none.
        at_unix: When it was captured, in seconds since the epoch.
        score: Its score.
        threshold: Threshold it was judged with.
        bundle: Hash of the bundle that judged it.
    """

    verdict: str
    source: str
    frame: int
    path: str
    at_unix: float
    score: float
    threshold: float
    bundle: str

    @classmethod
    def of(cls, result: Result, source_name: str = "") -> JudgedFrame:
        """From a result of a stream; the source's name counts for frames that do not say it."""
        frame, verdict = result.frame, result.verdict
        return cls(
            "NG" if verdict.is_anomalous else "OK",
            frame.source or source_name,
            frame.index,
            frame.path,
            frame.captured_unix,
            verdict.score,
            verdict.threshold,
            result.bundle,
        )


def label_frame(
    store: CorrectionStore,
    frame: Frame,
    judged: JudgedFrame,
    *,
    label: Label | None,
    by: str,
    kind: str = "",
    place: tuple[Stroke, ...] = (),
) -> tuple[Kept, Event | None]:
    """Keep a frame as what it really was, or take it back.

    Args:
        store: Where the frame goes.
        frame: The frame.
        judged: What the line said of it.
        label: What the part was; None takes back what was said.
        by: Who says so.
        kind: Kind of a defect; may be empty.
        place: Where the defect is; may be empty.

    Returns:
        What became of it, and the event for the records; None where nothing changed.

    Raises:
        StorageError: No space or no permission; the folder is as it was.
    """
    size_hw = frame.image.shape[0], frame.image.shape[1]
    finding = Finding(label, kind, strokes_mask(place, size_hw) if place else None)
    facts: dict[str, object] = {"by": by, **asdict(judged)}
    kept = store.put(frame, finding, facts, judged.source)
    if not kept.is_new:
        return kept, None
    facts |= {"pixels": kept.pixels, "folder": str(store.root.resolve())}
    if label is not None:
        facts |= {"kind": kind, "photo": kept.photo, "mask": kept.mask, "sha256": kept.sha256}
        facts["place"] = [stroke.to_json() for stroke in place]
    return kept, _event(frame, judged, finding, by, facts)


def _event(frame: Frame, judged: JudgedFrame, finding: Finding, by: str, facts: dict[str, object]) -> Event:
    what = f"Frame {judged.frame}" + (f" of part {frame.part}" if frame.part else "")
    if finding.label is None:
        return Event(WITHDRAWN, time.time(), judged.source, f"{what}: correction withdrawn by {by}.", facts)
    is_right = (finding.label == "defect") == (judged.verdict == "NG")
    words = "a defect" if is_right else _WORDS[finding.label]
    kind = f" ({finding.kind})" if finding.kind else ""
    text = f"{what} marked as {words}{kind} by {by}."
    kind_of_event = CONFIRMED if is_right else CORRECTED
    return Event(kind_of_event, time.time(), judged.source, text, {"label": finding.label, **facts})
