"""No way through a stream gives OK where a score is above its threshold or where a number is missing."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.prediction import NOT_FINITE, Prediction, Verdict, normalised_score
from edge_ad.server.metrics import StreamMetrics
from edge_ad.server.state import PageState
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.overlay import draw_overlay
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import NgImagesSink, records_sink
from edge_ad.streaming.statistics import Summary
from edge_ad.streaming.verdicts import NotFiniteAlarm, PartObserver, PartRule, observers_from_options
from edge_ad.streaming.verdicts.parts import INCOMPLETE
from tests.streaming.fakes import SIZE_HW, FakeEngine, ListSink, NumberedSource, number_of
from tests.streaming.results import make_result

NAN, INF = math.nan, math.inf
BROKEN = [NAN, INF, -INF]


@dataclass(frozen=True)
class Given:
    """What the engine says of one frame, and the threshold that somebody sets before it."""

    score: float
    pixel: float
    threshold: float | None = None

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.score) and math.isfinite(self.pixel)


class GivenEngine(FakeEngine):
    """Says what it is told of each frame, one pixel of the map included."""

    def __init__(self, given: Sequence[Given]) -> None:
        super().__init__()
        self._given = given

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        said = [self._given[number_of(image) - 1] for image in images] if images[0, 0, 3, 0] != 127 else []
        maps = np.zeros((len(images), *SIZE_HW), np.float32)
        scores = np.zeros(len(images), np.float32)
        for index, item in enumerate(said):
            scores[index], maps[index, 5, 7] = item.score, item.pixel
        return scores, maps


class SteeringSource(NumberedSource):
    """Somebody sets another threshold before some of its frames."""

    def __init__(self, given: Sequence[Given], control: StreamControl, *, is_live: bool) -> None:
        super().__init__(len(given), is_live=is_live)
        self._given, self._control = given, control

    def read(self) -> NDArray[np.uint8] | None:
        if self.reads < len(self._given) and (value := self._given[self.reads].threshold) is not None:
            try:
                self._control.set_threshold(value, by="test")
            except UsageError:
                assert not math.isfinite(value)
        return super().read()


numbers = st.one_of(
    st.floats(-3, 3, width=32), st.sampled_from([*BROKEN, 1.0, float(np.nextafter(np.float32(1), np.float32(2)))])
)
frames = st.builds(Given, numbers, numbers, st.one_of(st.none(), st.none(), st.floats(0, 2), st.sampled_from(BROKEN)))
rules = st.sampled_from([None, "1/1", "1/3", "2/3", "3/3", "2/gap:9s", "7/gap:9s", "1/gap:0.001s", "1/1:id", "1/2:id"])


@settings(max_examples=60)
@given(
    st.lists(frames, min_size=1, max_size=12),
    st.floats(0, 2),
    rules,
    st.sampled_from([None, 0.5, 1.0]),
    st.sampled_from([None, "2f", "1s"]),
    st.sampled_from([None, 3]),
    st.booleans(),
)
def test_nothing_that_is_above_its_threshold_or_not_finite_is_ok_anywhere(
    given_frames: list[Given],
    threshold: float,
    part: str | None,
    hysteresis: float | None,
    cool_down: str | None,
    batch: int | None,
    is_live: bool,
) -> None:
    hysteresis = None if part is not None and ":id" in part else hysteresis
    with TemporaryDirectory() as folder:
        root, control, kept = Path(folder), StreamControl(), ListSink()
        sinks = [kept, *(records_sink(root / name) for name in ("r.sqlite", "r.jsonl", "r.csv"))]
        with GivenEngine(given_frames) as engine:
            summary = run_stream(
                engine,
                SteeringSource(given_frames, control, is_live=is_live),
                threshold=threshold,
                sinks=sinks,
                observers=observers_from_options(part=part, hysteresis=hysteresis, cool_down=cool_down),
                control=control,
                batch=batch,
            )
        expected = [_is_ng(result, given_frames) for result in kept.results]
        if not is_live:
            assert len(expected) == len(given_frames)
        assert [result.verdict.is_anomalous for result in kept.results] == expected
        assert (summary.defective, summary.ok) == (sum(expected), len(expected) - sum(expected))
        _check_records(root, kept.results, expected)
        _check_page_and_metrics(kept.results, expected)
        _check_parts(kept, summary, part, hysteresis)


def _is_ng(result: Result, given_frames: Sequence[Given]) -> bool:
    said = given_frames[number_of(result.frame.image) - 1]
    assert math.isfinite(result.verdict.threshold)
    assert (result.verdict.reason == NOT_FINITE) == (not said.is_finite)
    return not said.is_finite or float(np.float32(said.score)) > result.verdict.threshold


def _check_records(root: Path, results: Sequence[Result], expected: Sequence[bool]) -> None:
    words = ["NG" if is_ng else "OK" for is_ng in expected]
    reasons = [result.verdict.reason for result in results]
    scores = [result.verdict.score if math.isfinite(result.verdict.score) else None for result in results]
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (root / "r.jsonl").read_text().splitlines()]
    with (root / "r.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    with RecordReader(root / "r.sqlite") as reader:
        stored = list(reader.records(RecordFilter()))
        above = list(reader.records(RecordFilter(min_score=1e9)))
    for rows in (lines, cells, stored):
        assert [row["verdict"] for row in rows] == words
        assert [row["reason"] for row in rows] == reasons
    assert [row["score"] for row in lines] == [row["score"] for row in stored] == scores
    assert len(above) == scores.count(None)  # what has no score is not hidden by a limit on scores
    connection = sqlite3.connect(root / "r.sqlite")
    assert [row[0] for row in connection.execute("SELECT verdict FROM records ORDER BY id")] == words
    connection.close()


def _check_page_and_metrics(results: Sequence[Result], expected: Sequence[bool]) -> None:
    metrics = StreamMetrics()
    for result, is_ng in zip(results, expected, strict=True):
        page = PageState(StreamControl(1.0), "line")
        page.add(result)
        state = page.state()
        json.dumps(state, allow_nan=False)
        assert state["sources"][0]["defective"] == is_ng
        assert draw_overlay(result, fps=1.0).dtype == np.uint8
        metrics.add(result, "line")
    count = f'edge_ad_frames_total{{source="numbered",verdict="NG"}} {float(sum(expected))}\n'
    assert (count in metrics.expose().decode()) == any(expected)


def _check_parts(kept: ListSink, summary: Summary, rule: str | None, hysteresis: float | None) -> None:
    """A part that is called good has all its frames, every one with finite numbers, and fewer than n above.

    One that ends with a pause has all when it has n, or none above. A frame without an id is a part of its own.
    """
    parts = [event for event in kept.events if event.kind == "part"]
    if rule is None:
        assert not parts
        return
    needed, each = int(rule[0]), None if "gap" in rule else int(rule[2])
    assert sum(event.data["frames"] for event in parts) == summary.frames
    at = 0
    for event in parts:
        group = kept.results[at : at + event.data["frames"]]
        at += len(group)
        above = sum(result.verdict.is_anomalous for result in group)
        is_whole = len(group) == each if each is not None else len(group) >= needed or not above
        assert rule is None or ":id" not in rule or len(group) == 1
        if event.data["verdict"] == "OK":
            assert is_whole
            assert above < needed
            assert not any(result.verdict.reason for result in group)
        elif hysteresis is None:
            assert not is_whole or above >= needed or any(result.verdict.reason for result in group)
    called = {event.data["part"] for event in kept.events if event.kind == "ng"}
    defective = {event.data["part"] for event in parts if event.data["verdict"] == "NG"}
    assert called <= defective


@pytest.mark.parametrize("value", BROKEN)
def test_a_prediction_that_is_not_finite_is_ng_for_that_reason(value: float) -> None:
    sound = np.zeros((2, 2), np.float32)
    broken = sound.copy()
    broken[1, 0] = value
    for prediction, score in ((Prediction(value, sound), value), (Prediction(0.2, broken), 0.2)):
        verdict = Verdict.judge(prediction, 1.0)
        assert (verdict.is_anomalous, verdict.reason) == (True, NOT_FINITE)
        assert verdict.score == score or math.isnan(score)
        assert math.isnan(verdict.normalised)
    assert Verdict.judge(Prediction(0.2, sound), value).reason == NOT_FINITE
    assert Verdict.judge(Prediction(0.2, sound), 1.0) == Verdict(0.2, 1.0, False, normalised_score(0.2, 1.0))


@given(st.floats(1e-300, 1e308), st.floats(1e-300, 1e308))
def test_a_normalised_score_is_a_number_on_the_side_of_the_threshold_that_the_score_is_on(
    score: float, threshold: float
) -> None:
    value = normalised_score(score, threshold)
    assert 0.0 <= value <= 1.0
    assert (value >= 0.5) if score > threshold else (value <= 0.5)


def test_a_frame_that_is_not_finite_raises_one_alarm_until_the_engine_is_well_again() -> None:
    alarm, events = NotFiniteAlarm(well_after=3), list[Event]()
    for index, score in enumerate([0.1, NAN, 0.1, 0.1, -INF, 0.1, 0.1, 0.1, 0.1, INF]):
        events += alarm.see(make_result(index, score))
    assert [(event.kind, event.data["frame"]) for event in events if event.kind == "alarm"] == [
        ("alarm", 1),
        ("alarm", 9),
    ]
    assert [event.data["frames"] for event in events if event.kind == "alarm cleared"] == [2]


@pytest.mark.parametrize("value", BROKEN)
def test_a_stream_tells_of_frames_that_are_not_finite(value: float, tmp_path: Path) -> None:
    given_frames = [Given(0.1, 0.0), Given(value, 0.0), Given(0.1, value), Given(0.1, 0.0)]
    control, kept = StreamControl(), ListSink()
    ng_images = tmp_path / "ng"
    from edge_ad.streaming.records.ng_images import NgImageStore

    sinks = [kept, NgImagesSink(NgImageStore(ng_images))]
    source = SteeringSource(given_frames, control, is_live=False)
    with GivenEngine(given_frames) as engine:
        summary = run_stream(
            engine, source, threshold=1.0, sinks=sinks, control=control, observers=observers_from_options()
        )
    assert (summary.defective, summary.not_finite) == (2, 2)
    assert [event.kind for event in kept.events] == ["alarm", "ng", "ng"]
    assert [event.data["reason"] for event in kept.events[1:]] == [NOT_FINITE, NOT_FINITE]
    assert len(list(ng_images.rglob("*.png"))) == 2


@pytest.mark.parametrize("value", BROKEN)
def test_a_stream_with_a_threshold_that_is_not_finite_does_not_begin(value: float) -> None:
    with FakeEngine() as engine, pytest.raises(UsageError, match="not a finite number"):
        run_stream(engine, NumberedSource(3), threshold=value)


def test_one_frame_without_a_number_makes_a_part_defective_however_many_are_asked_for() -> None:
    observer = PartObserver(PartRule.parse("3/3"), watch_drift=False)
    events = [event for index, score in enumerate([0.1, NAN, 0.1]) for event in observer.see(make_result(index, score))]
    assert [event.kind for event in events] == ["ng", "part"]
    assert (events[1].data["verdict"], events[1].data["reason"]) == ("NG", NOT_FINITE)
    assert events[1].data["score"] == 0.1  # the third highest


def test_a_part_that_lacks_a_frame_is_defective() -> None:
    observer = PartObserver(PartRule.parse("1/2:id"), watch_drift=False)
    events: list[Event] = []
    for number in range(20):  # only one of two cameras gives frames
        events += observer.see(make_result(number, 0.1, source="left", part=f"P{number}"))
    events += observer.end()
    parts = [event for event in events if event.kind == "part"]
    assert [event.data["part_id"] for event in parts] == [f"P{number}" for number in range(20)]
    assert {(event.data["verdict"], event.data["reason"]) for event in parts} == {("NG", INCOMPLETE)}
    assert len([event for event in events if event.kind == "ng"]) == 20


def test_parts_of_a_source_that_is_forgotten_are_told_before() -> None:
    observer = PartObserver(PartRule.parse("1/2"), watch_drift=False)
    events = [event for number in range(70) for event in observer.see(make_result(0, 0.1, source=f"camera {number}"))]
    assert [event.source for event in events if event.kind == "part"] == [f"camera {number}" for number in range(6)]


def test_records_of_an_older_version_are_read_and_added_to(tmp_path: Path) -> None:
    from edge_ad.streaming.records.schema import _STEPS, open_for_writing

    path = tmp_path / "old.sqlite"
    connection = open_for_writing(path, steps=_STEPS[:1])
    connection.execute("INSERT INTO streams VALUES (1, 0, 'line', '')")
    connection.execute("INSERT INTO sources VALUES (1, 'line')")
    connection.execute("INSERT INTO bundles VALUES (1, 'b')")
    connection.execute("INSERT INTO verdicts VALUES (1, 1, 1, 1, 7, 5.0, 0.5, 1.0, 0, 1.0, 1.0, NULL)")
    connection.close()
    with RecordReader(path) as reader:
        (row,) = reader.records(RecordFilter())
    assert (row["frame"], row["verdict"], row["reason"]) == (7, "OK", "")
    with FakeEngine() as engine:
        run_stream(engine, NumberedSource(2), threshold=1.0, sinks=[records_sink(path)])
    with RecordReader(path) as reader:
        assert [row["reason"] for row in reader.records(RecordFilter())] == ["", "", ""]
