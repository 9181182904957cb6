"""The scene monitor: one event for one change, none for an odd frame, and its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.runtime.engine import EngineDescription
from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading, measure_scene
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.control import BundleFacts, StreamControl
from edge_ad.streaming.frame import Event
from edge_ad.streaming.pipeline import Pipeline
from edge_ad.streaming.verdicts import SceneObserver, observers_from_options
from tests.streaming.fakes import SIZE_HW, FakeEngine, FakeSource
from tests.streaming.results import CAPTURED_UNIX, make_result

_GOOD = SceneMeasures(100.0, 0.5, 0.2, 1.0, 1.0, 1.0)
_DARK = _GOOD._replace(brightness=70.0)


def _limits() -> SceneLimits:
    limits = SceneLimits.of([_GOOD] * 8)
    assert limits is not None
    return limits


def _events(
    observer: SceneObserver,
    measures: list[SceneMeasures],
    *,
    source: str = "",
    bundle: str = "b1",
    score: float = 0.5,
    start: float = 0.0,
    interval_s: float = 1.0,
) -> list[Event]:
    limits = _limits()
    found: list[Event] = []
    for index, item in enumerate(measures):
        at = start + index * interval_s
        result = make_result(index, score, at=at, unix=CAPTURED_UNIX + at, source=source, bundle=bundle)
        found += observer.see(replace(result, scene=SceneReading(item, limits)))
    return found


def test_one_change_is_one_event_and_its_end_another() -> None:
    changed, restored = _events(SceneObserver(), [_GOOD] * 30 + [_DARK] * 100 + [_GOOD] * 100)
    assert (changed.kind, restored.kind) == ("scene changed", "scene restored")
    assert changed.text.startswith("The scene has changed: darker by 30 %, against")
    assert changed.data["changed"] == ["brightness"]
    assert changed.data["measures"]["brightness"] == {"now": 70.0, "photos": 100.0, "low": 92.0, "high": 108.0}
    assert 30 + 8 <= changed.data["frame"] < 30 + 15  # more than half of 15 must be new
    assert 130 + 8 <= restored.data["frame"] < 130 + 15
    assert restored.data["started_unix"] == changed.at_unix
    assert restored.text.endswith(f"after {restored.at_unix - changed.at_unix:.0f} s.")


def test_odd_frames_are_no_event() -> None:
    odd = [_DARK if index % 15 < 5 else _GOOD for index in range(300)]
    assert _events(SceneObserver(), odd) == []


@pytest.mark.parametrize("interval_s", [0.0, 1 / 30])
def test_a_part_of_another_look_that_rests_under_the_camera_is_no_event(interval_s: float) -> None:
    parts = [_DARK if number % 5 in (1, 2) else _GOOD for number in range(40)]
    frames = [part for part in parts for _ in range(15)]
    assert _events(SceneObserver(), frames, interval_s=interval_s) == []
    events = _events(SceneObserver(), [*frames, *[_DARK] * 400], interval_s=interval_s)
    assert [event.kind for event in events] == ["scene changed"]


def test_a_scene_that_was_never_right_is_told_once() -> None:
    events = _events(SceneObserver(), [_DARK] * 200, score=9.0)
    assert [event.kind for event in events] == ["scene changed"]
    assert events[0].data["frame"] < 15


def test_what_changes_together_is_told_together_and_what_follows_again() -> None:
    worse = _DARK._replace(sharpness=0.1)
    (both,) = _events(SceneObserver(), [_GOOD] * 20 + [worse] * 100)
    assert both.data["changed"] == ["brightness", "sharpness"]
    assert "darker by 30 %, less sharp by 50 %" in both.text
    first, second = _events(SceneObserver(), [_GOOD] * 20 + [_DARK] * 50 + [worse] * 100)
    assert (first.data["changed"], second.data["changed"]) == (["brightness"], ["brightness", "sharpness"])


def test_what_sits_on_a_limit_is_not_told_again_and_again() -> None:
    rng = np.random.default_rng(0)
    edge = [_GOOD._replace(brightness=92.0 + float(value)) for value in rng.normal(0, 1.0, 2000)]
    assert len(_events(SceneObserver(), edge)) <= 1


def test_sources_are_apart_and_another_bundle_starts_again() -> None:
    observer = SceneObserver()
    assert _events(observer, [_GOOD] * 30, source="left") == []
    (right,) = _events(observer, [_DARK] * 30, source="right")
    assert right.source == "right"
    assert _events(observer, [_DARK] * 12, source="right", bundle="b2", start=50) == []  # too few of the new one
    assert len(_events(observer, [_DARK] * 20, source="right", bundle="b2", start=62)) == 1


def test_a_bundle_that_does_not_say_how_its_photos_looked_has_no_monitor() -> None:
    observer = SceneObserver()
    assert [event for index in range(50) for event in observer.see(make_result(index))] == []
    assert len(observers_from_options(scene=False)) == len(observers_from_options()) - 1


@pytest.mark.parametrize("policy", ["newest", "every"])
def test_a_stream_measures_the_picture_that_the_network_sees(policy: str) -> None:
    class Large(FakeSource):
        def read(self) -> NDArray[np.uint8] | None:
            image = super().read()
            return image if image is None else np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)

    limits, facts = _limits(), BundleFacts(name="", hash="b", method="", precision="", backend="", threshold=1.0)
    control = StreamControl(1.0, facts)
    with FakeEngine() as engine:
        slot = ActiveEngine(JudgingEngine(engine, facts, 1.0, scene=limits))
        with Pipeline(slot, [Large(6)], control, policy=policy) as pipeline:  # type: ignore[arg-type] # of the parameter
            result = pipeline.next_item()
    assert result is not None
    seen = result.scene  # type: ignore[union-attr] # nothing is unjudged here
    assert seen == SceneReading(measure_scene(np.full((*SIZE_HW, 3), result.frame.index, np.uint8)), limits)
    assert isinstance(engine.describe(), EngineDescription)
