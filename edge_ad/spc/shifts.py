"""Shifts: times of the local day, as spans of time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from edge_ad.errors import UsageError

__all__ = ["Shift", "Span", "parse_shift", "subgroup_spans"]

_SHIFT = re.compile(r"(?:(?P<name>[^=]{1,40})=)?(?P<start>\d\d?:\d\d)-(?P<end>\d\d?:\d\d)")
_MOST_DAYS = 3700
_DAY_S = 86400.0


@dataclass(frozen=True)
class Span:
    """A span of time, in seconds since the epoch: the start is in it, the end is not."""

    since_unix: float
    until_unix: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.until_unix - self.since_unix


@dataclass(frozen=True)
class Shift:
    """A time of every local day; one that ends before it starts goes on past midnight.

    Attributes:
        name: For people.
        start: When it starts.
        end: When it is over; equal to the start for the whole day.
    """

    name: str
    start: time
    end: time

    def spans(self, period: Span) -> list[Span]:
        """What of a period lies in this shift, oldest first."""
        day = datetime.fromtimestamp(period.since_unix).date() - timedelta(days=1)
        last = datetime.fromtimestamp(period.until_unix).date()
        if (last - day).days > _MOST_DAYS:
            raise UsageError("The period is longer than ten years.", "Give a shorter one: --since and --until.")
        days = [day + timedelta(days=number) for number in range((last - day).days + 1)]
        cut = [_common(self._span(each), period) for each in days]
        return [span for span in cut if span.seconds > 0]

    def _span(self, day: date) -> Span:
        next_day = day if self.start < self.end else day + timedelta(days=1)
        return Span(_local(day, self.start), _local(next_day, self.end))


def parse_shift(text: str) -> Shift:
    """Take ``06:00-14:00`` or ``early=06:00-14:00``.

    Raises:
        UsageError: It is none.
    """
    hint = "Such as 06:00-14:00, 22:00-06:00 or early=06:00-14:00."
    found = _SHIFT.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no shift.", hint)
    start, end = (_time(found[name], text, hint) for name in ("start", "end"))
    return Shift((found["name"] or f"{start:%H:%M}-{end:%H:%M}").strip(), start, end)


def subgroup_spans(period: Span, width_s: float, shifts: Sequence[Shift] = ()) -> list[Span]:
    """Cut a period into subgroups.

    Args:
        period: The period.
        width_s: Length of a subgroup in seconds, above 0.
        shifts: Only these times; a subgroup lies in one shift and starts with it. Without any, subgroups start at
            multiples of their length after local midnight, those of whole days at midnight.

    Returns:
        Spans that do not overlap, oldest first; where one shift ends, the day or the period, a subgroup is shorter.
    """
    if not shifts:
        return [each for days, step_s in _days(period, width_s) for each in _cut(days, period, step_s)]
    spans = [span for shift in shifts for span in shift.spans(period)]
    cut = [each for span in spans for each in _cut(span, span, width_s)]
    return sorted(cut, key=lambda span: span.since_unix)


def _days(period: Span, width_s: float) -> Iterator[tuple[Span, float]]:
    """The local days of a period, as many together as a subgroup has, and the length of the subgroups in them.

    A day on which the clock changes has 23 or 25 hours. What is longer than a day and no number of days is counted
    from the first midnight on.
    """
    day = datetime.fromtimestamp(period.since_unix).date()
    if width_s > _DAY_S and width_s % _DAY_S:
        yield Span(_local(day, time()), period.until_unix), width_s
        return
    while (start := _local(day, time())) < period.until_unix:
        day += timedelta(days=max(1, round(width_s / _DAY_S)))
        days = Span(start, _local(day, time()))
        yield days, width_s if width_s < _DAY_S else days.seconds


def _cut(span: Span, period: Span, width_s: float) -> list[Span]:
    """What of a span lies in a period, cut from the start of the span on."""
    span, edge = _common(span, period), span.since_unix
    first = max(0, math.floor((span.since_unix - edge) / width_s))
    made = []
    for number in range(first, math.floor((span.until_unix - edge) / width_s) + 1):
        part = _common(Span(edge + number * width_s, edge + (number + 1) * width_s), span)
        if part.seconds > 0:
            made.append(part)
    return made


def _common(one: Span, other: Span) -> Span:
    return Span(max(one.since_unix, other.since_unix), min(one.until_unix, other.until_unix))


def _local(day: date, at: time) -> float:
    return datetime.combine(day, at).timestamp()


def _time(text: str, shift: str, hint: str) -> time:
    hours, minutes = map(int, text.split(":"))
    if hours == 24 and minutes == 0:
        hours = 0
    if hours > 23 or minutes > 59:
        raise UsageError(f"{shift!r} is no shift.", hint)
    return time(hours, minutes)
