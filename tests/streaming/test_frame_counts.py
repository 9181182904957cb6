"""Every frame that a source gave is in exactly one count."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions, Region
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sources import Source
from edge_ad.streaming.statistics import Summary
from edge_ad.streaming.triggers.base import EveryNth
from edge_ad.streaming.verdicts import PartObserver, PartRule
from tests.streaming.fakes import FakeEngine, ListSink, NumberedSource, number_of
from tests.streaming.results import PATIENCE_S, wait_until


class TenthIsBlack:
    """A check that finds every tenth frame black."""

    def __init__(self, source: Source) -> None:
        assert source.is_live

    def check(self, image: NDArray[np.uint8]) -> str | None:
        return "black" if number_of(image) % 10 == 1 else None


def _total(summary: Summary) -> int:
    return summary.frames + summary.dropped + summary.duplicates + sum(summary.unjudged.values()) + summary.corrupt


@pytest.mark.parametrize("policy", ["newest", "every"])
def test_source_count_is_the_sum_of_what_became_of_its_frames(policy: Any) -> None:
    source = NumberedSource(300, is_live=True, interval_s=0.001, duplicate_every=7, corrupt_every=11)
    filters = FilterOptions(trigger=EveryNth(3), make_health=TenthIsBlack)
    with FakeEngine(seconds=0.008) as engine:
        summary = run_stream(engine, source, threshold=1.0, policy=policy, filters=filters)
    assert source.source_count == 300
    assert _total(summary) == 300
    assert summary.duplicates == 300 // 7
    assert summary.corrupt == len([n for n in range(1, 301) if n % 11 == 0 and n % 7])
    assert set(summary.unjudged) == {"black", "not triggered"}
    assert summary.undelivered == 0
    assert (summary.dropped > 0) is (policy == "newest")


def test_frames_that_are_damaged_are_told(engine: FakeEngine) -> None:
    sink, source = ListSink(), NumberedSource(300, corrupt_every=11)
    run_stream(engine, source, threshold=1.0, sinks=[sink])
    assert {event.kind for event in sink.events} == {"corrupt"}
    assert sum(event.data["frames"] for event in sink.events) == 300 // 11
    assert {event.source for event in sink.events} == {"numbered"}


def test_frames_under_way_at_a_limit_are_counted_and_not_called_dropped() -> None:
    source, judged = NumberedSource(None), itertools.count(1)

    class Behind(FakeEngine):
        """The frame after each of the first five has been read when that is judged."""

        def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            if (images != 127).any() and (number := next(judged)) <= 5:  # the warm-up's are grey
                wait_until(lambda: source.reads > number)
            return super()._infer(images)

    with Behind() as engine:
        summary = run_stream(engine, source, threshold=1.0, limits=Limits(max_frames=5))
    assert (summary.frames, summary.dropped) == (5, 0)
    assert _total(summary) + summary.undelivered == source.source_count
    assert 0 < summary.undelivered < 15


def test_delivered_frames_are_the_captured_ones_in_order_and_cropped(engine: FakeEngine) -> None:
    sink = ListSink()
    run_stream(
        engine, NumberedSource(50), threshold=1.0, sinks=[sink], filters=FilterOptions(region=Region(0, 0, 32, 16))
    )
    assert [number_of(result.frame.image) for result in sink.results] == list(range(1, 51))
    image = sink.results[0].frame.image
    assert image.shape == (16, 32, 3)
    assert image.base is not None  # a view: no copy was made


def test_paused_frames_are_counted_and_not_judged(engine: FakeEngine) -> None:
    control, sink = StreamControl(), ListSink()
    control.pause("test")

    def resume() -> None:
        try:
            wait_until(lambda: len(sink.skipped) >= 5)
        finally:
            control.resume("test")

    resuming = threading.Thread(target=resume)
    resuming.start()
    source = NumberedSource(None, is_live=True, interval_s=0.005)
    summary = run_stream(
        engine,
        source,
        threshold=1.0,
        sinks=[sink],
        control=control,
        limits=Limits(max_frames=5, max_seconds=PATIENCE_S),
    )
    resuming.join()
    assert summary.frames == 5
    assert summary.unjudged["paused"] >= 5
    assert {unjudged.reason for unjudged in sink.skipped} == {"paused"}
    assert _total(summary) + summary.undelivered == source.source_count
    assert [event.kind for event in sink.events] == ["paused", "resumed"]


def test_judged_frames_of_a_file_reach_a_sink_with_those_that_were_not_in_their_order(engine: FakeEngine) -> None:
    sink = ListSink()
    filters = FilterOptions(trigger=EveryNth(3))
    summary = run_stream(engine, NumberedSource(90), threshold=1.0, sinks=[sink], filters=filters)
    assert (summary.frames, summary.unjudged) == (30, {"not triggered": 60})
    assert [result.frame.index for result in sink.results] == list(range(0, 90, 3))
    assert len(sink.skipped) == 60


class _IsBlack:
    """A check that finds the eleventh, twenty-first, … frame black."""

    def __init__(self, source: Source) -> None:
        pass

    def check(self, image: NDArray[np.uint8]) -> str | None:
        return "black" if number_of(image) % 10 == 1 and number_of(image) > 1 else None


@pytest.mark.parametrize("policy", ["newest", "every"])
@pytest.mark.parametrize("batch", [None, 4])
def test_black_frame_counts_as_one_of_its_part_so_that_none_of_the_next_part_takes_its_place(
    engine: FakeEngine, policy: Any, batch: int | None
) -> None:
    sink, observer = ListSink(), PartObserver(PartRule.parse("2/2"), watch_drift=False)
    source = NumberedSource(40, is_live=policy == "newest", told=sink if policy == "newest" else None)
    filters = FilterOptions(make_health=_IsBlack)
    summary = run_stream(
        engine, source, threshold=9.0, sinks=[sink], observers=[observer], filters=filters, policy=policy, batch=batch
    )
    parts = [event.data for event in sink.events if event.kind == "part"]
    assert [part["frame"] for part in parts] == list(range(1, 40, 2))
    assert [part["part"] for part in parts if part["verdict"] == "NG"] == [5, 10, 15]
    assert {part["reason"] for part in parts if part["verdict"] == "NG"} == {"black"}
    assert (summary.unjudged, summary.frames, summary.dropped) == ({}, 40, 0)


class _TriggeredSource(NumberedSource):
    @property
    def is_triggered(self) -> bool:
        return True


@pytest.mark.parametrize("policy", ["newest", "every"])
def test_each_frame_whose_exposure_a_part_started_has_a_verdict(engine: FakeEngine, policy: Any) -> None:
    sink = ListSink()
    source = _TriggeredSource(12, is_live=True, told=sink)
    filters = FilterOptions(make_health=_IsBlack)
    summary = run_stream(engine, source, threshold=9.0, sinks=[sink], filters=filters, policy=policy)
    assert [result.frame.index for result in sink.results if result.reason == "black" and result.is_defective] == [10]
    assert (summary.unjudged, summary.frames, summary.dropped) == ({}, 12, 0)


def test_black_frame_is_skipped_without_parts_and_while_a_trigger_waits(engine: FakeEngine) -> None:
    for trigger, observers in [(None, []), (EveryNth(1), [PartObserver(PartRule.parse("2/2"))])]:
        filters = FilterOptions(make_health=_IsBlack, trigger=trigger)
        summary = run_stream(engine, NumberedSource(40), threshold=9.0, observers=observers, filters=filters)
        assert (summary.frames, summary.unjudged) == (37, {"black": 3})
