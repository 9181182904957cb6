"""Which kinds of defects people found on the frames of a period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge_ad.outside_text import storable
from edge_ad.spc.shifts import Span
from edge_ad.spc.subgroups import VERDICT_COLUMNS
from edge_ad.streaming.records.labels import newest_words
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["FALSE_ALARM", "NO_KIND", "count_kinds"]

FALSE_ALARM, NO_KIND = "false alarm", "defect, no kind given"
_ROUNDED_S = 1e-3


def count_kinds(reader: RecordReader, spans: Sequence[Span], chosen: RecordFilter) -> list[tuple[str, int]]:
    """Count the frames that somebody labelled, by what they were; good parts that passed are left out.

    Args:
        reader: The records.
        spans: When the frames were captured.
        chosen: Which records; its time and limit do not count.

    Returns:
        Kind and count, the most frequent first.

    Raises:
        DataError: The database is damaged.
    """
    if not spans:
        return []
    counts: Counter[str] = Counter()
    for event in newest_words(reader, RecordFilter(since_unix=spans[0].since_unix)):  # nobody labels what is to come
        data = event["data"]
        name = _name(data)
        if name and _is_within(data.get("at_unix"), spans) and _is_chosen(reader, event["source"], data, chosen):
            counts[name] += 1
    return counts.most_common()


def _name(data: dict[str, Any]) -> str:
    if data.get("label") == "good":
        return "" if data.get("verdict") == "OK" else FALSE_ALARM
    return storable(str(data.get("kind") or NO_KIND))


def _is_within(at_unix: object, spans: Sequence[Span]) -> bool:
    return isinstance(at_unix, (int, float)) and any(span.since_unix <= at_unix < span.until_unix for span in spans)


def _is_chosen(reader: RecordReader, source: str, data: dict[str, Any], chosen: RecordFilter) -> bool:
    at_unix = float(data["at_unix"])
    one = replace(chosen, since_unix=at_unix - _ROUNDED_S, until_unix=at_unix + _ROUNDED_S)
    condition, values = replace(one, source=chosen.source or source).clause("v.time_unix", **VERDICT_COLUMNS)
    statement = f"SELECT count(*) FROM verdicts v WHERE {condition} AND v.frame = ?"
    is_of_source = chosen.source is None or storable(chosen.source) == source
    return is_of_source and reader.select(statement, [*values, data.get("frame")])[0][0] > 0
