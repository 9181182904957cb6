"""The handle on a stream, without a stream."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from edge_ad.errors import BundleError, UsageError
from edge_ad.streaming.control import BundleFacts, StreamControl, SwapRequest
from edge_ad.streaming.operator_thresholds import OperatorThresholds
from edge_ad.streaming.progress import Progress
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


def test_number_of_no_recipe_or_of_two_is_refused_and_recorded() -> None:
    control = StreamControl()
    control.serve_requests(lambda: None, lambda: {"Plate": 7, "Rod": 7, "Cup": 8})
    for number, why in ((7, "Plate, Rod"), (9, "no recipe with number 9")):
        with pytest.raises(UsageError, match=why):
            control.switch_recipe(number, by="the PLC").result(0)
        (event,) = control.take_events()
        assert (event.kind, event.data["by"]) == ("recipe refused", "the PLC")
        assert why in event.text
    with pytest.raises(UsageError, match="no recipe x"):
        control.switch_recipe("x" * 5000, by="the PLC").result(0)
    assert len(control.take_events()[0].text) < 300
    assert control.take_recipe_request() is None


def test_stream_that_cannot_open_bundles_refuses_one(engine: FakeEngine) -> None:
    control, sink = StreamControl(), ListSink()
    control.swap_bundle(Path("next"), by="x")
    run_stream(engine, FakeSource(3), threshold=1.0, control=control, sinks=[sink])
    assert [event.kind for event in sink.events] == ["bundle refused"]


def test_a_threshold_is_kept_for_its_bundle_and_the_audit_says_so(tmp_path: Path) -> None:
    kept = OperatorThresholds(tmp_path)
    first, other = _facts("a" * 64), _facts("b" * 64)
    control = StreamControl(1.0, first, kept.keep)
    control.set_threshold(2.0, by="Ada")
    assert "Later streams of this bundle use it too." in control.take_events()[0].text
    found = OperatorThresholds(tmp_path).of(first)
    assert found is not None
    assert (found.value, found.by) == (2.0, "Ada")
    assert kept.of(other) is None
    control.set_threshold(1.0, by="Grace")
    assert "It is the bundle's own." in control.take_events()[0].text
    assert kept.of(first) is None


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 1, "value": NaN, "by": "x", "time": ""}'])
def test_a_damaged_kept_threshold_is_refused_with_the_way_round_it(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{'a' * 64}-fp32.json").write_text(content)
    with pytest.raises(BundleError) as caught:
        OperatorThresholds(tmp_path).of(_facts("a" * 64))
    assert "--bundle-threshold" in (caught.value.hint or "") or "newer" in caught.value.message


def test_a_threshold_that_cannot_be_kept_holds_until_the_end_and_the_audit_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    control = StreamControl(1.0, _facts("a" * 64), OperatorThresholds(tmp_path / "file").keep)
    control.set_threshold(2.0, by="Ada")
    assert control.threshold == 2.0
    assert "holds until this stream ends" in control.take_events()[0].text


def _facts(digest: str) -> BundleFacts:
    return BundleFacts(name="tiles", hash=digest, method="blue", precision="fp32", backend="x", threshold=1.0)
