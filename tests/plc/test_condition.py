"""A PLC is told of every fault under which no verdict can be relied on."""

from __future__ import annotations

import pytest

from edge_ad.plc.condition import Fault, LineCondition
from edge_ad.streaming.frame import Event, Unjudged
from edge_ad.streaming.progress import Progress
from tests.plc.handmade import Running
from tests.streaming.results import make_result


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _condition(now: Progress | None = None, clock: _Clock | None = None) -> tuple[LineCondition, Running]:
    condition, control = LineCondition(clock or _Clock()), Running()
    control.now = now or control.now
    condition.attach(control)
    return condition, control


def test_without_a_stream_it_is_starting() -> None:
    assert LineCondition().fault() is Fault.STARTING


@pytest.mark.parametrize(
    ("now", "fault"),
    [
        (Progress(), Fault.STARTING),
        (Progress(seconds=1.0), Fault.NONE),
        (Progress(seconds=1.0, stalled_s=1.5), Fault.NONE),
        (Progress(seconds=1.0, stalled_s=2.5), Fault.ENGINE_STALLED),
        (Progress(seconds=1.0, stalled_s=2.5, latency_p99_ms=900.0), Fault.NONE),
        (Progress(seconds=1.0, is_ending=True), Fault.STOPPING),
    ],
)
def test_progress_says_whether_it_runs(now: Progress, fault: Fault) -> None:
    assert _condition(now)[0].fault() is fault


def test_a_lost_source_is_a_fault_until_all_are_back() -> None:
    condition, _ = _condition()
    for kind, source, fault in (
        ("source lost", "a", Fault.SOURCE_LOST),
        ("source lost", "b", Fault.SOURCE_LOST),
        ("source returned", "a", Fault.SOURCE_LOST),
        ("source returned", "b", Fault.NONE),
    ):
        condition.event(Event(kind, 0.0, source))
        assert condition.fault() is fault


def test_frames_that_cannot_be_judged_are_a_fault_until_one_is() -> None:
    condition, _ = _condition()
    frame = make_result().frame
    condition.unjudged(Unjudged(frame, "black"))
    assert (condition.fault(), condition.problem) == (Fault.NOT_JUDGED, "black")
    condition.unjudged(Unjudged(frame, "no part"))
    assert condition.fault() is Fault.NOT_JUDGED
    condition.judged()
    assert condition.fault() is Fault.NONE
    condition.unjudged(Unjudged(frame, "no part"))  # between parts
    assert condition.fault() is Fault.NONE


def test_when_no_frame_comes_any_more_the_plc_may_ask_for_one() -> None:
    clock = _Clock()
    condition, _ = _condition(clock=clock)
    condition.unjudged(Unjudged(make_result().frame, "black"))
    clock.now = 1.0
    assert condition.fault() is Fault.NOT_JUDGED
    clock.now = 3.0
    assert (condition.fault(), condition.problem) == (Fault.NONE, "")


def test_a_frame_that_only_was_not_triggered_shows_that_others_can_be_judged() -> None:
    condition, _ = _condition()
    condition.unjudged(Unjudged(make_result().frame, "black"))
    condition.unjudged(Unjudged(make_result().frame, "not triggered"))
    assert condition.fault() is Fault.NONE


def test_a_pause_and_a_stop_are_faults() -> None:
    clock = _Clock()
    condition, control = _condition(clock=clock)
    control.pause("me")
    assert condition.fault() is Fault.PAUSED
    control.resume("me")
    clock.now = 1.0
    assert condition.fault() is Fault.NONE
    control.stop()
    clock.now = 2.0
    assert condition.fault() is Fault.STOPPING
