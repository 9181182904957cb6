"""Which times are looked at: the period, the base period, and subgroups of a length that fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_ad.errors import DataError, UsageError
from edge_ad.spc.run_rules import RuleSet
from edge_ad.spc.shifts import Shift, Span, subgroup_spans
from edge_ad.spc.subgroups import BundleCounts
from edge_ad.streaming.records.reader import RecordReader
from edge_ad.streaming.records.schema import iso_time

__all__ = [
    "LEAST_NG",
    "StatisticsRequest",
    "base_period",
    "checked_spans",
    "fitting_width",
    "judged_period",
    "width_for_ng",
]

_DAY_S = 86400.0
_MINUTE_S = 60.0  # what people say, and forms show
_BASE_DAYS = 7
_WIDTHS_S = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, _DAY_S, 7 * _DAY_S)
_WHOLE_HOURS = (1, 2, 4, 8)
_LEAST_SUBGROUPS, _MOST_SUBGROUPS = 20, 100
_MOST_ASKED, _MOST_OF_BASE = 2000, 20_000  # those of the base period are not drawn

LEAST_NG = 5.0
"""NG that should be expected in a subgroup: below, the limits of a p chart promise too much."""


@dataclass(frozen=True)
class StatisticsRequest:
    """What is asked for.

    Attributes:
        since_unix: Start of the period; None for the 24 hours that end with it.
        until_unix: End of the period; None for the end of the minute of the newest record.
        base_since_unix: Start of the base period, from which the limits come; None for the seven days before the
            period.
        base_until_unix: Its end; given with its start.
        source: Only this source.
        bundle: Only what a bundle judged whose hash begins so.
        shifts: Only these times of the day.
        width_s: Length of a subgroup in seconds; None for one that gives 20 to 100 of them, with five NG expected in
            each where so many come.
        rules: Name of the run rules.
        with_dispersion: Widen limits by how much the subgroups of the base period differ.
        recipe: Only what was judged under the recipe of this name.
    """

    since_unix: float | None = None
    until_unix: float | None = None
    base_since_unix: float | None = None
    base_until_unix: float | None = None
    source: str | None = None
    bundle: str | None = None
    shifts: tuple[Shift, ...] = ()
    width_s: float | None = None
    rules: RuleSet = "western-electric"
    with_dispersion: bool = False
    recipe: str | None = None


def judged_period(reader: RecordReader, request: StatisticsRequest) -> Span:
    """The period that is asked for.

    Raises:
        UsageError: It ends before it starts.
        DataError: There are no records, or none since its start.
    """
    until = request.until_unix
    if until is None:
        newest = reader.select("SELECT max(time_unix) FROM verdicts")[0][0]
        if newest is None:
            raise DataError(f"{reader.path} holds no verdicts.", "edge-ad stream --database FILE.sqlite writes them.")
        until = _MINUTE_S * (math.floor(newest / _MINUTE_S) + 1)
        if request.since_unix is not None and request.since_unix >= until:
            message = f"{reader.path} holds no verdicts of that time: the newest is of {iso_time(newest)}."
            raise DataError(message, "Give an earlier start.")
    since = until - _DAY_S if request.since_unix is None else request.since_unix
    return _checked(Span(since, until), "period")


def base_period(request: StatisticsRequest, period: Span) -> tuple[Span, bool]:
    """The period that limits come from, and whether somebody named it.

    Raises:
        UsageError: It ends before it starts, or only one of both was given.
    """
    start, end = request.base_since_unix, request.base_until_unix
    if (start is None) != (end is None):
        raise UsageError("A base period has a start and an end.", "Give both --base-since and --base-until, or none.")
    if start is None or end is None:
        return Span(period.since_unix - _BASE_DAYS * _DAY_S, period.since_unix), False
    return _checked(Span(start, end), "base period"), True


def _checked(span: Span, name: str) -> Span:
    if not (math.isfinite(span.since_unix) and span.since_unix < span.until_unix):
        raise UsageError(f"The {name} ends before it starts.", "Give its start first, then its end.")
    return span


def fitting_width(period: Span, base: Span, shifts: Sequence[Shift]) -> float:
    """The shortest usual length in seconds that gives at most a hundred subgroups, and not too many before them."""
    seconds = sum(each.seconds for each in subgroup_spans(period, period.seconds, shifts)) or period.seconds
    possible = (width for width in _WIDTHS_S if base.seconds / width <= _MOST_OF_BASE)
    return next((width for width in possible if seconds / width <= _MOST_SUBGROUPS), _WIDTHS_S[-1])


def width_for_ng(
    spans: Sequence[Span], counts: Sequence[BundleCounts], base_counts: Sequence[BundleCounts], width_s: float
) -> float:
    """A width, at least this one, with five NG expected in a subgroup; no more than leaves twenty subgroups."""
    frames, before = (sum(row.frames for row in rows) for rows in (counts, base_counts))
    seconds, ng = sum(span.seconds for span in spans), sum(row.defective for row in base_counts)
    if not frames or not ng:
        return width_s
    wanted_s = LEAST_NG * before / ng * seconds / frames
    possible = [width for width in _WIDTHS_S if width >= width_s and seconds / width >= _LEAST_SUBGROUPS]
    return next((width for width in possible if width >= wanted_s), max(possible, default=width_s))


def checked_spans(period: Span, width_s: float, shifts: Sequence[Shift], *, is_base: bool = False) -> list[Span]:
    """The subgroups of a period, see `subgroup_spans`.

    Raises:
        UsageError: There are more than 2000, or 20,000 in a base period, or two shifts overlap.
    """
    name, most = ("base period", _MOST_OF_BASE) if is_base else ("period", _MOST_ASKED)
    if period.seconds / width_s > most:
        message = f"A {name} of {period.seconds / _DAY_S:.3g} days has {period.seconds / width_s:.0f} such subgroups."
        long_enough = next((f"{hours}h" for hours in _WHOLE_HOURS if period.seconds / 3600 / hours <= most), "")
        needed = long_enough or f"{math.ceil(period.seconds / _DAY_S / most)}d"
        raise UsageError(message, f"Take longer ones: at most {most}. Such as --subgroup {needed}.")
    spans = subgroup_spans(period, width_s, shifts)
    if any(one.until_unix > other.since_unix + 1e-6 for one, other in itertools.pairwise(spans)):
        raise UsageError("Two shifts overlap: their frames would be counted twice.", "Give shifts that do not.")
    return spans
