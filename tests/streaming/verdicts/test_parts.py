"""Parts, hysteresis, cool-down: the events that follow from several frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import records_sink
from edge_ad.streaming.triggers.base import AskedTrigger
from edge_ad.streaming.verdicts import CoolDownRule, PartObserver, PartRule, observers_from_options
from edge_ad.streaming.verdicts.parts import INCOMPLETE
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import make_result


def _events(
    observer: PartObserver, scores: list[float], *, interval_s: float = 0.1, source: str = "line"
) -> list[Event]:
    events: list[Event] = []
    for index, score in enumerate(scores):
        events += observer.see(make_result(index, score, at=index * interval_s, source=source))
    return events


def _frames(events: list[Event], kind: str) -> list[int]:
    return [event.data["frame"] for event in events if event.kind == kind]


def _verdicts(events: list[Event]) -> list[str]:
    return [event.data["verdict"] for event in events if event.kind == "part"]


def test_every_defective_frame_calls_when_nothing_is_asked_for() -> None:
    (observer,) = observers_from_options(scene=False)
    events = [
        event for index, score in enumerate([0.5, 1.5, 1.0, 2.0]) for event in observer.see(make_result(index, score))
    ]
    assert [(event.kind, event.data["frame"], event.data["score"]) for event in events] == [
        ("ng", 1, 1.5),
        ("ng", 3, 2.0),
    ]
    assert (events[0].data["threshold"], events[0].data["bundle"]) == (1.0, "b1")
    assert "score 1.5, limit 1" in events[0].text


def test_two_of_four_frames_make_a_part_defective_at_the_second_one() -> None:
    observer = PartObserver(PartRule.parse("2/4"), watch_drift=False)
    events = _events(observer, [0.5, 1.5, 0.5, 0.5, 1.5, 0.5, 1.2, 1.9, 0.1, 0.2])
    assert _verdicts(events) == ["OK", "NG"]  # the third is not complete
    assert _frames(events, "ng") == [6]
    assert _frames(events, "part") == [3, 7]
    part = next(event for event in events if event.kind == "part" and event.data["part"] == 1)
    assert (part.data["frames"], part.data["defective"], part.data["score"]) == (4, 3, 1.5)  # the second highest


def test_a_pause_of_the_trigger_ends_a_part() -> None:
    observer = PartObserver(PartRule.parse("2/gap:500ms"), watch_drift=False)
    events: list[Event] = []
    times = [0.0, 0.1, 0.2, 1.0, 1.1, 5.0]
    for index, (at, score) in enumerate(zip(times, [1.5, 1.5, 0.5, 1.5, 0.5, 0.5], strict=True)):
        events += observer.see(make_result(index, score, at=at))
    assert _verdicts(events) == ["NG", "OK"]
    assert _frames(events, "ng") == [1]
    assert _verdicts(list(observer.end())) == ["OK"]  # the last one is over when the stream is
    assert observer.end() == []


def test_cameras_that_look_at_one_part_judge_it_together() -> None:
    observer = PartObserver(PartRule.parse("1/2:id"), watch_drift=False)
    events: list[Event] = []
    frames = [("left", "A7", 0.5), ("left", "A8", 1.5), ("right", "A7", 0.5), ("right", "A8", 0.5), ("left", "A9", 0.5)]
    for index, (source, part, score) in enumerate(frames):
        events += observer.see(make_result(index, score, source=source, part=part))
    assert [(event.kind, event.data["part_id"], event.data["frame"]) for event in events] == [
        ("ng", "A8", 1),
        ("part", "A7", 2),
        ("part", "A8", 3),
    ]
    assert _verdicts(events) == ["OK", "NG"]
    late: list[Event] = []
    for number in range(40):  # the right camera is gone: what waits for it is told, and does not pile up
        late += observer.see(make_result(number, 0.5, source="left", part=f"B{number}"))
    told = [event for event in late if event.kind == "part"]
    assert [event.data["part_id"] for event in told] == ["A9", *(f"B{number}" for number in range(24))]
    assert {(event.data["frames"], event.data["verdict"]) for event in told} == {(1, "NG")}


def test_the_id_of_a_trigger_reaches_the_part(engine: FakeEngine, tmp_path: Path) -> None:
    trigger = AskedTrigger()

    class Asked(FakeSource):
        def read(self) -> NDArray[np.uint8] | None:
            if self.reads % 10 == 0:
                trigger.ask(f"part {self.reads // 10}")
            return super().read()

    path = tmp_path / "line.sqlite"
    filters, observers = FilterOptions(trigger=trigger), observers_from_options(part="1/1:id")
    run_stream(engine, Asked(30), threshold=0.1, sinks=[records_sink(path)], observers=observers, filters=filters)
    with RecordReader(path) as reader:
        told = [(event["event"], event["data"]["part_id"]) for event in reader.events(RecordFilter())]
    assert [name for kind, name in told if kind == "part"] == ["part 0", "part 1", "part 2"]


def _by_id(rule: str, frames: list[tuple[str, str]], *, score: float = 0.5) -> tuple[list[Event], list[Event]]:
    """Events of frames (source, id), and those of the end."""
    observer = PartObserver(PartRule.parse(rule), watch_drift=False)
    seen = [
        event
        for index, (source, part) in enumerate(frames)
        for event in observer.see(make_result(index, score, source=source, part=part))
    ]
    return seen, list(observer.end())


def test_a_second_frame_of_one_camera_does_not_stand_for_that_of_another() -> None:
    seen, at_end = _by_id("1/2:id", [("a", "1"), ("b", "1"), ("a", "2"), ("a", "2"), ("a", "3"), ("b", "3")])
    assert [(event.data["part_id"], event.data["verdict"]) for event in seen if event.kind == "part"] == [
        ("1", "OK"),
        ("3", "OK"),
    ]
    (part,) = (event for event in at_end if event.kind == "part")
    assert (part.data["part_id"], part.data["verdict"], part.data["reason"]) == ("2", "NG", INCOMPLETE)


def test_two_frames_of_the_only_camera_are_a_part_and_so_are_three_of_two() -> None:
    for frames in (["a", "a"], ["a", "a", "a", "a"]):
        assert _verdicts(_by_id("1/2:id", [(source, "1") for source in frames])[0]) == ["OK"] * (len(frames) // 2)
    assert _verdicts(_by_id("1/3:id", [("a", "1"), ("a", "1"), ("b", "1")])[0]) == ["OK"]


def test_the_late_frame_of_a_part_that_is_over_does_not_change_it() -> None:
    seen, at_end = _by_id("1/2:id", [("a", "1"), ("a", "1"), ("b", "1")])
    assert (_verdicts(seen), _verdicts(at_end)) == (["OK"], ["NG"])


def test_frames_without_an_id_are_not_one_part() -> None:
    seen, at_end = _by_id("1/2:id", [("a", "")] * 3)
    parts = [event for event in seen if event.kind == "part"]
    assert [(event.data["frames"], event.data["verdict"], event.data["reason"]) for event in parts] == [
        (1, "NG", INCOMPLETE)
    ] * 3
    assert _frames(seen, "ng") == [0, 1, 2]
    assert at_end == []
    assert _verdicts(_by_id("1/1:id", [("a", "")] * 3)[0]) == ["OK"] * 3


def test_parts_by_id_need_a_trigger_that_gives_ids() -> None:
    with pytest.raises(UsageError, match="needs a trigger that gives ids"):
        observers_from_options(part="1/2:id", has_ids=False)


@pytest.mark.parametrize(("scores", "reason"), [([1.5] * 6, INCOMPLETE), ([0.5, 1.5], INCOMPLETE), ([0.5] * 6, "")])
def test_a_part_too_short_to_be_defective_is_so_when_one_of_its_frames_is(scores: list[float], reason: str) -> None:
    observer = PartObserver(PartRule.parse("7/gap:1s"), watch_drift=False)
    events = [*_events(observer, scores), *observer.end()]
    assert [(event.data["verdict"], event.data["reason"]) for event in events if event.kind == "part"] == [
        ("NG" if reason else "OK", reason)
    ]
    assert len(_frames(events, "ng")) == bool(reason)


def test_sources_have_parts_of_their_own() -> None:
    observer = PartObserver(PartRule.parse("2/2"), watch_drift=False)
    kinds = [
        event.kind
        for index, (source, score) in enumerate([("a", 1.5), ("b", 1.5), ("b", 0.5), ("a", 1.5)])
        for event in observer.see(make_result(index, score, source=source))
    ]
    assert kinds == ["part", "ng", "part"]


def test_hysteresis_gives_one_event_for_a_score_that_trembles() -> None:
    observer = PartObserver(hysteresis=0.8, watch_drift=False)
    events = _events(observer, [0.9, 1.05, 0.95, 1.02, 0.81, 0.8, 0.95, 1.1, 0.5])
    assert _frames(events, "ng") == [1, 7]
    assert _frames(events, "ng over") == [5, 8]


def test_hysteresis_lowers_a_negative_threshold_too() -> None:
    observer = PartObserver(hysteresis=0.5, watch_drift=False)
    scores = [-3.0, -1.0, -2.9, -3.1]
    kinds = [[event.kind for event in observer.see(make_result(0, score, threshold=-2.0))] for score in scores]
    assert kinds == [[], ["ng"], [], ["ng over"]]  # leaves at -3


def test_hysteresis_does_not_go_on_into_the_next_part() -> None:
    observer = PartObserver(PartRule.parse("2/2"), hysteresis=0.8, watch_drift=False)
    assert _verdicts(_events(observer, [0.5, 1.5, 0.9, 0.9, 1.5, 0.9])) == ["OK", "OK", "NG"]


def test_after_an_event_there_is_silence_and_what_was_held_back_is_counted() -> None:
    by_time = PartObserver(cool_down=CoolDownRule.parse("1s"), watch_drift=False)
    events = _events(by_time, [1.5] * 21)  # ten a second
    assert _frames(events, "ng") == [0, 10, 20]
    assert [event.data["held_back"] for event in events] == [0, 9, 9]
    by_frames = PartObserver(cool_down=CoolDownRule.parse("4f"), watch_drift=False)
    assert _frames(_events(by_frames, [1.5] * 11, interval_s=0.0), "ng") == [0, 5, 10]


def test_what_the_cool_down_holds_back_is_not_over_either() -> None:
    observer = PartObserver(hysteresis=0.8, cool_down=CoolDownRule.parse("1s"), watch_drift=False)
    events = _events(observer, [1.5, 0.5, 1.5, 0.5, *[0.5] * 8, 1.5, 0.5])  # ten a second
    assert [(event.kind, event.data["frame"]) for event in events] == [
        ("ng", 0), ("ng over", 1), ("ng", 12), ("ng over", 13),
    ]  # fmt: skip
    assert events[2].data["held_back"] == 1


def test_what_outlasts_the_cool_down_is_told_late_and_once() -> None:
    observer = PartObserver(hysteresis=0.8, cool_down=CoolDownRule.parse("1s"), watch_drift=False)
    events = _events(observer, [1.5, 0.5, *[1.5] * 30, 0.5])
    assert [(event.kind, event.data["frame"]) for event in events] == [
        ("ng", 0), ("ng over", 1), ("ng", 10), ("ng over", 32),
    ]  # fmt: skip
    assert events[2].data["held_back"] == 0


def test_a_clock_that_is_set_does_not_change_the_silence() -> None:
    observer = PartObserver(cool_down=CoolDownRule.parse("1s"), watch_drift=False)
    unix = [1e9, 2e9, 0.0]
    seen = [observer.see(make_result(n, 1.5, at=n * 0.1, unix=unix[n])) for n in range(3)]
    assert [len(events) for events in seen] == [1, 0, 0]


def test_the_memory_does_not_grow_with_sources_or_frames() -> None:
    observer = PartObserver(PartRule.parse("2/gap:9s"))
    for number in range(500):
        observer.see(make_result(number, 0.5, source=f"camera {number}"))
    assert len(observer._lines) == 64
    for number in range(5000):
        observer.see(make_result(number, 0.5, at=number * 0.1, source="one"))
    part = observer._lines["one"]._parts._current
    assert part is not None
    assert (part.frames, len(part._highest)) == (5000, 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 4))
def test_a_part_is_defective_exactly_when_its_score_is_above_the_threshold(
    scores: list[float], needed: int, more: int
) -> None:
    observer = PartObserver(PartRule(needed, needed + more), watch_drift=False)
    parts = [event for event in _events(observer, scores) if event.kind == "part"]
    size = needed + more
    expected = [scores[start : start + size] for start in range(0, len(scores) - size + 1, size)]
    assert [event.data["verdict"] == "NG" for event in parts] == [
        sum(score > 1.0 for score in part) >= needed for part in expected
    ]
    assert [event.data["score"] > 1.0 for event in parts] == [event.data["verdict"] == "NG" for event in parts]


@pytest.mark.parametrize("part", ["", "2", "0/3", "4/3", "2/gap:0s", "2/gap:5", "2000/gap:1s", "a/b", "2/-3", "2/3/4"])
def test_a_part_that_cannot_be_is_refused(part: str) -> None:
    with pytest.raises(UsageError):
        observers_from_options(part=part)


@pytest.mark.parametrize("cool_down", ["", "s", "-1s", "1.5f", "2h", "nan"])
def test_a_cool_down_that_cannot_be_is_refused(cool_down: str) -> None:
    with pytest.raises(UsageError):
        observers_from_options(cool_down=cool_down)


def test_parts_of_several_cameras_have_no_hysteresis() -> None:
    with pytest.raises(UsageError, match="no hysteresis"):
        observers_from_options(part="1/2:id", hysteresis=0.9)


@pytest.mark.parametrize("hysteresis", [0.0, -1.0, 1.01, float("nan")])
def test_a_hysteresis_that_cannot_be_is_refused(hysteresis: float) -> None:
    with pytest.raises(UsageError):
        observers_from_options(hysteresis=hysteresis)


def test_the_last_part_of_a_stream_is_told_before_its_sinks_close(tmp_path: Path, engine: FakeEngine) -> None:
    path = tmp_path / "line.sqlite"
    observers = observers_from_options(part="2/gap:5s")
    run_stream(engine, FakeSource(20), threshold=1.0, sinks=[records_sink(path)], observers=observers)
    with RecordReader(path) as reader:
        (part,) = reader.events(RecordFilter())
    assert (part["event"], part["data"]["verdict"], part["data"]["frames"]) == ("part", "OK", 20)


@pytest.mark.parametrize(
    ("rule", "counted"),
    [
        ("2/4", {"black", "another shape", "no part", "part cut off", "several parts"}),
        ("2/gap:1s", {"black", "another shape", "several parts"}),  # parts that come and go
        ("1/4:id", set()),  # the trigger's answer decides
        (None, set()),
    ],
)
def test_frame_that_cannot_be_judged_belongs_to_a_part(rule: str | None, counted: set[str]) -> None:
    observer = PartObserver(None if rule is None else PartRule.parse(rule))
    reasons = ["black", "another shape", "no part", "part cut off", "several parts", "paused", "not triggered"]
    assert {reason for reason in reasons if observer.counts(reason)} == counted
