"""Makes a page of statistics in a process of its own: drawing must not hold up the stream that is recorded."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.outside_text import storable
from edge_ad.spc.page import render_statistics
from edge_ad.spc.periods import StatisticsRequest
from edge_ad.spc.run_rules import RULE_SETS
from edge_ad.spc.shifts import parse_shift
from edge_ad.spc.statistics import Statistics, statistics_of
from edge_ad.streaming.records.reader import RecordReader

__all__ = ["main", "page_of"]

_LONGEST_S = 120
_NICE = 10
_CHOICES = {
    "sources": "SELECT name FROM sources ORDER BY id LIMIT 200",
    "bundles": "SELECT hash FROM bundles ORDER BY id DESC LIMIT 200",
    "recipes": "SELECT DISTINCT name FROM recipes ORDER BY name LIMIT 200",
}
_WIDTHS = {"": "automatic", "900": "15 min", "3600": "1 h", "14400": "4 h", "28800": "8 h", "86400": "1 day"}
_Choice = TypeVar("_Choice")


def main() -> None:
    """Answer ``{"database": PATH, "fields": {...}}``, given as JSON, with ``{"page", "error", "hint"}`` on stdout."""
    asked = json.loads(sys.argv[1])
    if hasattr(signal, "alarm"):
        signal.alarm(_LONGEST_S)  # the caller may have been killed
    if hasattr(os, "nice"):
        os.nice(_NICE)
    answer = {"page": "", "error": "", "hint": ""}
    try:
        answer["page"] = page_of(Path(asked["database"]), asked["fields"])
    except EdgeAdError as error:
        answer |= {"error": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps(answer))


def page_of(database: Path, fields: Mapping[str, str]) -> str:
    """The page of a period, with the form by which another one is chosen.

    Args:
        database: The records.
        fields: What the form says: ``since``, ``until``, ``base_since`` and ``base_until`` as local times, ``shift``
            (more than one with commas), ``subgroup`` in seconds, ``source``, ``bundle``, ``recipe``, ``rules`` and
            ``between``; each may be empty or missing.

    Raises:
        UsageError: One of them cannot be used.
        DataError: The database is damaged or holds nothing.
        MissingDependencyError: What draws the page is not installed.
    """
    with RecordReader(database) as reader:
        found = statistics_of(reader, _request(fields))
        choices = {name: [storable(str(row[0])) for row in reader.select(text)] for name, text in _CHOICES.items()}
    return render_statistics(found, database.name, form=_form(found, fields, choices))


def _request(fields: Mapping[str, str]) -> StatisticsRequest:
    def text(name: str) -> str | None:
        return fields.get(name, "").strip() or None

    shifts = tuple(parse_shift(part) for part in fields.get("shift", "").split(",") if part.strip())
    return StatisticsRequest(
        _time(text("since")),
        _time(text("until")),
        _time(text("base_since")),
        _time(text("base_until")),
        source=text("source"),
        bundle=text("bundle"),
        shifts=shifts,
        width_s=None if (width := _one_of(fields, "subgroup", list(_WIDTHS), "")) == "" else float(width),
        rules=_one_of(fields, "rules", list(RULE_SETS), "western-electric"),
        with_dispersion=fields.get("between") == "1",
        recipe=text("recipe"),
    )


def _form(found: Statistics, fields: Mapping[str, str], choices: dict[str, list[str]]) -> dict[str, Any]:
    names = ("base_since", "base_until", "shift", "subgroup", "source", "bundle", "recipe")
    return (
        choices
        | {name: storable(fields.get(name, "")) for name in names}
        | {
            "since": _field(found.period.since_unix),
            "until": _field(found.period.until_unix),
            "rules": found.request.rules,
            "between": found.request.with_dispersion,
            "rule_sets": list(RULE_SETS),
            "subgroups": list(_WIDTHS.items()),
        }
    )


def _field(at_unix: float) -> str:
    return f"{datetime.fromtimestamp(at_unix):%Y-%m-%dT%H:%M}"


def _time(text: str | None) -> float | None:
    try:
        return None if text is None else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{text!r} is not a time.", "Such as 2026-11-22T08:00.") from error


def _one_of(fields: Mapping[str, str], name: str, choices: list[_Choice], default: _Choice) -> _Choice:
    given = fields.get(name) or default
    if given not in choices:
        raise UsageError(f"{name} must be one of {', '.join(str(each) for each in choices if each)}.")
    return choices[choices.index(given)]
