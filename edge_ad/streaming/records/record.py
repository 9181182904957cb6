"""One judged frame, or one event, as plain data: the same keys in files, in messages and from `edge-ad records`."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result

__all__ = ["event_record", "finite", "iso_time", "record_of", "verdict_name"]


def record_of(result: Result, source_name: str = "") -> dict[str, Any]:
    """A judged frame as JSON-able data.

    Args:
        result: The judged frame.
        source_name: Name of the source, for frames that do not say it.

    Returns:
        ``frame``, ``time`` (ISO 8601 UTC), ``source``, ``score``, ``threshold``, ``normalised``, ``verdict`` (``"OK"``
        or ``"NG"``), ``reason`` (``"not finite"`` or empty), ``latency_ms`` (prepare and infer), ``age_ms`` (capture to
        result), ``bundle`` and ``path`` (of the image or video file; empty for a camera); a number that JSON does not
        have is None.
    """
    verdict, frame = result.verdict, result.frame
    return {
        "frame": frame.index,
        "time": iso_time(frame.captured_unix),
        "source": frame.source or source_name,
        "score": finite(verdict.score),
        "threshold": finite(verdict.threshold),
        "normalised": finite(verdict.normalised),
        "verdict": verdict_name(verdict.is_anomalous),
        "reason": verdict.reason,
        "latency_ms": round(result.prepare_ms + result.infer_ms, 3),
        "age_ms": round(result.age_ms, 3),
        "bundle": result.bundle,
        "path": frame.path,
    }


def event_record(event: Event) -> dict[str, Any]:
    """An event as JSON-able data: ``event``, ``time``, ``source``, ``text`` and ``data``."""
    return {
        "event": event.kind,
        "time": iso_time(event.at_unix),
        "source": event.source,
        "text": event.text,
        "data": dict(event.data),
    }


def iso_time(at_unix: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_unix, timezone.utc).isoformat(timespec="milliseconds")


def verdict_name(is_anomalous: bool) -> str:
    """``"NG"`` or ``"OK"``."""
    return "NG" if is_anomalous else "OK"


def finite(value: float) -> float | None:
    """The number, or None when JSON and databases have no such number."""
    return float(value) if math.isfinite(value) else None
