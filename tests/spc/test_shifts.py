"""Shifts of the local day, and subgroups in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from edge_ad.errors import UsageError
from edge_ad.spc.shifts import Span, parse_shift, subgroup_spans

_HOUR = 3600.0


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def choose(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _hours(spans: list[Span]) -> list[str]:
    return [f"{datetime.fromtimestamp(span.since_unix):%d %H:%M}+{span.seconds / _HOUR:g}" for span in spans]


def test_a_night_shift_goes_on_past_midnight_and_is_cut_at_the_period(in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    period = Span(_at("2026-11-20T00:00"), _at("2026-11-21T23:00"))
    assert _hours(parse_shift("night=22:00-06:00").spans(period)) == ["20 00:00+6", "20 22:00+8", "21 22:00+1"]


def test_a_shift_over_the_change_of_the_clock_has_an_hour_more(in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    period = Span(_at("2026-10-24T12:00"), _at("2026-10-25T12:00"))
    assert _hours(parse_shift("22:00-06:00").spans(period)) == ["24 22:00+9"]


def test_subgroups_begin_with_their_shift_or_at_whole_hours(in_zone: Callable[[str], None]) -> None:
    in_zone("Asia/Kolkata")  # half an hour beside the hours of UTC
    period = Span(_at("2026-11-20T05:40"), _at("2026-11-20T08:00"))
    assert _hours(subgroup_spans(period, _HOUR)) == ["20 05:40+0.333333", "20 06:00+1", "20 07:00+1"]
    shift = parse_shift("06:30-07:45")
    assert _hours(subgroup_spans(period, _HOUR, [shift])) == ["20 06:30+1", "20 07:30+0.25"]


@pytest.mark.parametrize("text", ["6-14", "06:00", "25:00-26:00", "06:60-07:00", "", "=06:00-07:00"])
def test_what_is_no_shift_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no shift"):
        parse_shift(text)


def test_subgroups_begin_at_midnight_after_the_clock_has_changed(in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    period = Span(_at("2026-10-24T12:00"), _at("2026-10-27T00:00"))
    assert _hours(subgroup_spans(period, 24 * _HOUR)) == ["24 12:00+12", "25 00:00+25", "26 00:00+24"]
    assert _hours(subgroup_spans(period, 12 * _HOUR))[1:] == ["25 00:00+12", "25 11:00+12", "25 23:00+1", "26 00:00+12",
                                                              "26 12:00+12"]  # fmt: skip
    week = Span(_at("2026-10-23T00:00"), _at("2026-11-02T00:00"))
    assert _hours(subgroup_spans(week, 7 * 24 * _HOUR)) == ["23 00:00+169", "30 00:00+72"]
