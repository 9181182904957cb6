"""What the records of a line say of its golden checks: a stream that is started again does not free a stopped line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_ad.streaming.frame import RecipeMark
from edge_ad.streaming.golden.state import GOLDEN_ENDS, GOLDEN_FAILED, GoldenState
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["failed_checks"]

_NEWEST = 10_000


def failed_checks(database: Path) -> dict[RecipeMark, GoldenState]:
    """Recipes whose newest golden check failed, and was neither passed nor waived since.

    Args:
        database: The records; a stream may be writing.

    Returns:
        Recipe → whether it failed, or was not done in time. Empty where there are no records yet.

    Raises:
        DataError: It is no database of records, or damaged.
    """
    if not database.is_file() or not database.stat().st_size:
        return {}
    found = dict[RecipeMark, GoldenState]()
    with RecordReader(database) as reader:
        for event in reader.events(RecordFilter(kinds=GOLDEN_ENDS, limit=_NEWEST)):
            recipe = RecipeMark(str(event["data"].get("recipe", "")), str(event["data"].get("recipe_hash", "")))
            found.pop(recipe, None)
            if event["event"] == GOLDEN_FAILED:
                found[recipe] = _state(event["data"])
    return found


def _state(data: Mapping[str, Any]) -> GoldenState:
    is_overdue = data.get("state") == GoldenState.OVERDUE.word
    return GoldenState.OVERDUE if is_overdue else GoldenState.FAILED
