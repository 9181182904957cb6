"""Which recorded frames show master parts: they are no production, and its statistics leave them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edge_ad.streaming.golden.state import GOLDEN_JUDGED, MASTER_PART, FrameSpan
from edge_ad.streaming.records.export import MOST_UNIX
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["master_frames"]

_FRAMES = """SELECT v.time_unix, v.id FROM verdicts v JOIN sources s ON s.id = v.source
    WHERE v.time_unix BETWEEN ? AND ? AND (s.name = ? OR ? = '')"""
_PART = """SELECT source, CASE WHEN json_valid(data) THEN json_extract(data, '$.started_unix') END FROM events
    WHERE kind = 'part' AND time_unix = ?"""


def master_frames(reader: RecordReader, since_unix: float | None = None) -> tuple[tuple[float, int], ...]:
    """Records of the frames that show master parts, as far as the stream knew them.

    An older edge-ad recorded only when a master part was judged. Its frames are found by that time; not those of a part
    by id, which several cameras took.

    Args:
        reader: The records.
        since_unix: Captured at this time or later, in seconds since the epoch; None for all.

    Returns:
        Time, in seconds since the epoch, and number of each, by time.

    Raises:
        DataError: The database is damaged.
    """
    found = set[tuple[float, int]]()
    for span in _spans(reader, since_unix):
        values = (span.since_unix, span.until_unix, span.source, span.source)
        found.update((float(at_unix), int(number)) for at_unix, number in reader.select(_FRAMES, values))
    return tuple(sorted(found))


def _spans(reader: RecordReader, since_unix: float | None) -> Iterator[FrameSpan]:
    told, judged = set[float](), set[float]()
    # They come after the frames.
    for event in reader.events(RecordFilter(since_unix, kinds=(MASTER_PART, GOLDEN_JUDGED))):
        data = event["data"]
        if event["event"] == MASTER_PART:
            told |= _times([data])
            yield from (FrameSpan(**one) for one in _items(data.get("frames")) if _is_span(one))
        else:
            judged |= _times(_items(data.get("results")))
    for at_unix in sorted(judged - told):
        yield from _spans_of_older(reader, at_unix)


def _spans_of_older(reader: RecordReader, at_unix: float) -> list[FrameSpan]:
    """The frame of this time, or those of the part that ended with it."""
    parts = reader.select(_PART, (at_unix,))
    found = [FrameSpan(source, since_unix, at_unix) for source, since_unix in parts if source and _is_time(since_unix)]
    return found if parts else [FrameSpan("", at_unix, at_unix)]


def _items(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _times(items: Iterable[Mapping[str, Any]]) -> set[float]:
    return {float(one["at_unix"]) for one in items if _is_time(one.get("at_unix"))}


def _is_span(one: Mapping[str, Any]) -> bool:
    times = (one.get("since_unix"), one.get("until_unix"))
    return len(one) == 3 and isinstance(one.get("source"), str) and all(map(_is_time, times))


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < MOST_UNIX
