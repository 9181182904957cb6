"""The handle on a stream, without a stream."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from edge_ad.errors import UsageError
from edge_ad.streaming.control import Progress, StreamControl, SwapRequest
from edge_ad.streaming.session import run_stream
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None])
def test_threshold_that_is_no_finite_number_is_refused_and_nothing_changes(value: Any) -> None:
    control = StreamControl(1.5)
    with pytest.raises(UsageError, match="not a finite number"):
        control.set_threshold(value, by="operator")
    assert control.threshold == 1.5
    assert control.take_events() == []


def test_changes_are_events_in_their_order_and_each_only_once() -> None:
    control = StreamControl(1.0)
    control.set_threshold(2, by="a")
    control.pause("b")
    control.pause("b")
    control.resume("c")
    control.resume("c")
    events = control.take_events()
    assert [event.kind for event in events] == ["threshold changed", "paused", "resumed"]
    assert events[0].data == {"old": 1.0, "new": 2.0, "by": "a"}
    assert control.take_events() == []


def test_control_of_no_stream_has_zeros_and_keeps_the_newest_request() -> None:
    control = StreamControl()
    assert control.progress() == Progress()
    control.swap_bundle(Path("a"), by="x")
    control.swap_bundle(Path("b"), by="y")
    assert control.take_swap() == SwapRequest(Path("b"), "y", any_product=False)
    assert control.take_swap() is None


def test_stream_that_cannot_open_bundles_refuses_one(engine: FakeEngine) -> None:
    control, sink = StreamControl(), ListSink()
    control.swap_bundle(Path("next"), by="x")
    run_stream(engine, FakeSource(3), threshold=1.0, control=control, sinks=[sink])
    assert [event.kind for event in sink.events] == ["bundle refused"]
