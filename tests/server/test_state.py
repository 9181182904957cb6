"""What the page knows of the stream."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge_ad.errors import DataError
from edge_ad.server.api import stored_records
from edge_ad.server.history import EventLog, Gallery, GalleryRule, Trend
from edge_ad.server.state import PageState
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records import RecordStore, VerdictRow
from edge_ad.streaming.records.export import csv_lines
from tests.server.live_page import judged, unjudged


def _state() -> PageState:
    return PageState(StreamControl(1.0), "camera")


def _only(state: PageState) -> dict[str, object]:
    (source,) = state.state()["sources"]
    return dict(source)


def test_trend_keeps_the_range_of_each_slice() -> None:
    trend = Trend(0.5, 4)
    for at, score in ((10.0, 3.0), (10.2, 1.0), (10.4, 2.0), (10.6, 5.0)):
        trend.add(at, score, 4.0, is_defective=score > 4)
    assert trend.rows(10.6) == [[10.0, 1.0, 3.0, 3, 0, 4.0], [10.5, 5.0, 5.0, 1, 1, 4.0]]
    assert trend.rows(10.6, 0.05) == [[10.5, 5.0, 5.0, 1, 1, 4.0]]
    assert trend.rows(1000.0) == []


def test_trend_does_not_grow() -> None:
    trend = Trend(0.5, 4)
    for number in range(1000):
        trend.add(number / 10, 1.0, 2.0, is_defective=False)
    assert len(trend.rows(99.9)) == 4


def test_scores_that_are_no_numbers_are_counted_and_not_drawn() -> None:
    trend = Trend(1.0, 4)
    trend.add(5.1, math.inf, 1.0, is_defective=True)
    trend.add(5.2, math.nan, 1.0, is_defective=False)
    assert trend.rows(5.2) == [[5.0, None, None, 2, 1, 1.0]]


def test_state_can_be_written_as_json_whatever_the_scores_are() -> None:
    state = _state()
    for number, score in enumerate((math.nan, math.inf, 2.0)):
        state.add(judged(number, score))
        json.dumps([state.state(), state.finds(), state.trend(0, "5m")], allow_nan=False)


@pytest.mark.parametrize(
    ("score", "threshold"),
    [(math.nan, 1.0), (math.inf, 1.0), (-math.inf, 1.0), (0.5, math.nan), (0.5, math.inf), (0.5, -math.inf)],
)
def test_what_is_not_finite_is_never_a_good_part(score: float, threshold: float) -> None:
    state = _state()
    number = state.add(judged(1, score, threshold=threshold))
    assert number is not None  # it is among the finds
    state.show_find(number, {})
    shown, (find,) = _only(state), state.finds()
    told = (score if math.isfinite(score) else None, threshold if math.isfinite(threshold) else None)
    assert shown["defective"]
    assert (shown["score"], shown["threshold"]) == told
    assert (find["score"], find["threshold"]) == told
    assert [row[4] for row in state.trend(0, "5m")] == [1]
    json.dumps([state.state(), state.finds(), state.trend(0, "5m")], allow_nan=False)


def test_frame_without_a_finite_score_is_the_worst_of_its_part() -> None:
    gallery = Gallery()
    scores = ((5.0, 2.0), (5.4, 9.0), (5.8, 9.5), (6.2, math.nan), (6.6, 99.0))
    numbers = [gallery.add(judged(index, score, at=at), "cam") for index, (at, score) in enumerate(scores)]
    assert numbers == [1, None, None, 1, None]
    gallery.show(1, {})
    assert [row["frame"] for row in gallery.rows()] == [3]


def test_csv_says_what_is_not_finite(tmp_path: Path) -> None:
    state = _state()
    for score, threshold in ((math.nan, 1.0), (-math.inf, 1.0), (0.5, math.nan)):
        state.add(judged(0, score, threshold=threshold))
    columns = ("verdict", "reason", "score", "threshold")
    rows = csv_lines(state.records(9), columns, has_header=False).splitlines()
    assert rows == ["NG,not finite,,1.0", "NG,not finite,,1.0", "NG,not finite,0.5,"]
    store = RecordStore(tmp_path / "records.sqlite", source="cam")
    store.commit([VerdictRow("cam", "hash", 0, 1e9, None, 1.0, True, 8.0, 9.0, reason="not finite")])
    store.close()
    rows = [csv_lines(page, columns, has_header=False) for page in stored_records(tmp_path / "records.sqlite", 9)]
    assert rows == ["NG,not finite,,1.0\n"]


def test_ng_is_shown_for_a_second_from_its_first_frame_on(monkeypatch: pytest.MonkeyPatch) -> None:
    state, now = _state(), time.perf_counter()
    seen = []
    # One NG at 60 frames per second would be seen by nobody; a part that lies there for longer needs no hold.
    for number, (at, score) in enumerate(((0.0, 2.0), (0.1, 0.5), (1.1, 0.5), (2.0, 2.0), (3.5, 3.0), (3.6, 0.5))):
        monkeypatch.setattr(time, "perf_counter", lambda at=at: now + at)
        state.add(judged(number, score))
        seen.append((_only(state)["defective"], _only(state)["frame"]))
    assert seen == [(True, 0), (True, 0), (False, 2), (True, 3), (True, 4), (False, 5)]


def test_picture_belongs_to_the_verdict() -> None:
    state = _state()
    state.add(judged(1, 2.0))
    state.add(judged(2, 0.5))
    shown = state.picture(0)
    assert shown is not None
    assert (shown[0].frame.index, shown[1]) == (1, 1)
    state.add_unjudged(unjudged(3, "paused"))
    shown = state.picture(0)
    assert shown is not None
    assert shown[0].frame.index == 3


def test_frame_that_is_not_judged_takes_the_verdict_away_unless_it_was_not_triggered() -> None:
    state = _state()
    state.add(judged(0, 0.5))
    state.add_unjudged(unjudged(1, "not triggered"))
    assert _only(state)["reason"] == ""
    state.add_unjudged(unjudged(2, "black"))
    assert _only(state)["reason"] == "black"
    state.add(judged(3, 0.5))
    assert _only(state)["reason"] == ""


def test_sources_are_kept_apart_and_bounded() -> None:
    state = _state()
    for number in range(100):
        state.add(judged(0, 0.5 + number, source=number))
    sources = state.state()["sources"]
    assert [source["name"] for source in sources[:2]] == ["cam 0", "cam 1"]
    assert len(sources) == 64
    assert state.trend(1, "24h")[0][1:3] == [1.5, 1.5]


def test_frames_of_one_part_are_one_find_with_its_worst_frame() -> None:
    gallery = Gallery()
    frames = [
        judged(number, score, at=number / 10)
        for number, score in enumerate((2.0, 3.0, 2.5, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 9.0, 8.0))
    ]
    asked = [gallery.add(result, "cam") for result in frames]
    assert asked == [1, *[None] * 9, 1, None]  # a new picture at most every second
    gallery.show(1, {"overlay": b"jpeg"})
    (find,) = gallery.rows()
    assert (find["frames"], find["score"], find["frame"]) == (12, 9.0, 10)


def test_a_find_names_the_file_of_its_worst_frame() -> None:
    state = _state()
    for number, score in enumerate((2.0, 9.0)):
        result = judged(number, score, at=2.0 * number / 5 + number)
        state.add(replace(result, frame=replace(result.frame, path=f"/data/{number}.png")))
        state.show_find(number + 1, {})
    assert [find["path"] for find in state.finds()] == ["/data/1.png", "/data/0.png"]
    assert _only(state)["path"] in ("/data/0.png", "/data/1.png")
    assert [record["path"] for record in state.records(9)] == ["/data/0.png", "/data/1.png"]


def test_next_part_is_another_find() -> None:
    gallery = Gallery()
    assert gallery.add(judged(0, 2.0, at=1.0), "cam") == 1
    assert gallery.add(judged(1, 2.0, at=1.6), "cam") == 2
    assert gallery.add(judged(2, 2.0, at=1.7, source=1), "cam") == 3


def test_gallery_is_a_ring() -> None:
    gallery = Gallery(GalleryRule(capacity=3))
    for number in range(1, 10):
        assert gallery.add(judged(number, 2.0, at=float(number)), "cam") == number
        gallery.show(number, {"overlay": bytes([number])})
    assert [row["number"] for row in gallery.rows()] == [9, 8, 7]
    assert gallery.picture(6, "overlay") is None
    assert gallery.picture(7, "overlay") == b"\x07"
    gallery.show(1, {"overlay": b"late"})
    assert len(gallery.rows()) == 3


def test_alarm_stands_until_it_is_cleared() -> None:
    log = EventLog()
    log.add(Event("alarm", 1.0, text="disk full", data={"alarm": "records"}))
    log.add(Event("alarm", 2.0, text="no broker", data={"alarm": "mqtt"}))
    log.add(Event("source lost", 3.0, "cam 1"))
    log.add(Event("source lost", 4.0, "cam 2"))
    log.add(Event("alarm cleared", 5.0, data={"alarm": "records"}))
    log.add(Event("source returned", 6.0, "cam 2"))
    assert [(alarm["kind"], alarm["text"], alarm["source"]) for alarm in log.alarms()] == [
        ("alarm", "no broker", ""),
        ("source lost", "", "cam 1"),
    ]
    assert [row["kind"] for row in log.rows()][:2] == ["source returned", "alarm cleared"]


def test_a_scene_is_an_alarm_until_it_is_restored_and_both_kinds_of_drift_are_apart() -> None:
    log = EventLog()
    log.add(Event("scene changed", 1.0, "cam 1", "darker"))
    log.add(Event("scene changed", 2.0, "cam 1", "darker, less sharp"))  # takes the place of the one before
    log.add(Event("scene changed", 3.0, "cam 2", "redder"))
    log.add(Event("drift", 4.0, "cam 1", "slow", data={"topic": "good scores"}))
    log.add(Event("drift", 5.0, "cam 1", "all", data={"topic": "most parts fail"}))
    log.add(Event("drift over", 6.0, "cam 1", data={"topic": "most parts fail"}))
    log.add(Event("scene restored", 7.0, "cam 2"))
    assert [alarm["text"] for alarm in log.alarms()] == ["darker, less sharp", "slow"]
    log.add(Event("bundle swapped", 8.0))
    assert log.alarms() == []


def test_events_and_alarms_do_not_grow() -> None:
    log = EventLog()
    for number in range(1000):
        log.add(Event("alarm", number, data={"alarm": str(number)}))
        log.add(Event("part", number))
        log.add(Event("ng", number))
    assert len(log.alarms()) == 20
    assert (len(log.rows()), log.count) == (200, 1000)


def test_records_are_the_newest_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.server.state._MOST_RECORDS", 3)
    state = _state()
    for number in range(5):
        state.add(judged(number, 0.5))
    assert [record["frame"] for record in state.records(2)] == [3, 4]
    assert len(state.records(9)) == 3


def test_database_is_read_a_page_at_a_time(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "records.sqlite", source="cam")
    rows = [
        VerdictRow("cam", "hash", number, 1e9 + number, 0.5, 1.0, number % 2 == 1, 8.0, 9.0) for number in range(4500)
    ]
    store.commit(rows)
    store.close()
    pages = list(stored_records(tmp_path / "records.sqlite", 4200))
    assert [len(page) for page in pages] == [2000, 2000, 200]
    assert (pages[0][0]["frame"], pages[-1][-1]["frame"]) == (300, 4499)
    assert (pages[0][0]["verdict"], pages[0][1]["verdict"]) == ("OK", "NG")
    with pytest.raises(DataError):
        list(stored_records(tmp_path / "none.sqlite", 1))
