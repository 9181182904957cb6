"""Recipes of a running stream: every frame is judged by the one it was captured under, or nothing changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_ad.errors import BundleError, EdgeAdError, UsageError
from edge_ad.runtime.engine import EngineDescription
from edge_ad.streaming.active_engine import JudgingEngine
from edge_ad.streaming.bundle_opening import OpenBundle
from edge_ad.streaming.control import BundleFacts, StreamControl
from edge_ad.streaming.filters import AnyRegion, Region, RegionOfShares, parse_region
from edge_ad.streaming.frame import RecipeMark
from edge_ad.streaming.hot_swap import BundleSwapper
from edge_ad.streaming.operator_thresholds import OperatorThresholds
from edge_ad.streaming.recipe import BundleChoice, Recipe
from edge_ad.streaming.recipe_switch import RecipeSwitcher
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sources import Source
from edge_ad.streaming.sources.base import CameraSettings
from edge_ad.streaming.verdicts import RecipeObservers, observers_from_options
from edge_ad.streaming.warm_bundles import WarmBundles, WarmLimits
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink
from tests.streaming.results import PATIENCE_S, no_thread_left, wait_until


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    with no_thread_left("stream-"):
        yield


class _Engine(FakeEngine):
    def __init__(self, side: int) -> None:
        super().__init__(seconds=0.001)
        self._description = EngineDescription("fake", "fp32", "test", "1", (side, side), 1)
        self.is_closed = False

    def _close(self) -> None:
        self.is_closed = True


class _Bundles:
    """Opens ``<side>``, whose engine takes frames of that size; notes each opening."""

    def __init__(self, *, opening_s: float = 0.0) -> None:
        self.opening_s, self.opened = opening_s, list[tuple[str, _Engine]]()
        self.is_opening = False

    def __call__(self, choice: BundleChoice) -> OpenBundle:
        self.is_opening = bool(self.opened)
        time.sleep(self.opening_s)
        name = choice.path.name
        if not name.isdigit():
            raise BundleError("model.onnx differs from its SHA-256")
        engine = _Engine(int(name))
        self.opened.append((name, engine))
        facts = BundleFacts(name=name, hash=f"b{name}", method="m", precision="fp32", backend="fake", threshold=1.0)
        stack = ExitStack()
        stack.enter_context(engine)
        return OpenBundle(JudgingEngine(engine, facts, float(name)), stack)


def _recipe(name: str, side: str, *, region: AnyRegion | None = None, **settings: Any) -> Recipe:
    return Recipe(RecipeMark(name, f"hash of {name}"), BundleChoice(Path(side)), region=region, **settings)


class _Shelf:
    def __init__(self, *recipes: Recipe) -> None:
        self._recipes = {recipe.mark.name: recipe for recipe in recipes}

    def names(self) -> Mapping[str, int]:
        return {name: recipe.number for name, recipe in self._recipes.items()}

    def read(self, name: str) -> Recipe:
        if name not in self._recipes:
            raise UsageError(f"There is no recipe {name}.")
        return self._recipes[name]


def _stream(
    recipes: list[Recipe],
    sink: ListSink,
    steer: Callable[[StreamControl], None],
    *,
    bundles: _Bundles | None = None,
    sources: list[Source] | None = None,
    limits: WarmLimits | None = None,
    policy: Any = "auto",
    kept: OperatorThresholds | None = None,
) -> StreamControl:
    bundles = bundles or _Bundles()
    first = bundles(recipes[0].bundle)
    control = StreamControl(bundle=first.judging.bundle)
    observers = RecipeObservers(recipes[0], lambda recipe: observers_from_options(**recipe.rules))
    kept_of = (lambda bundle: None) if kept is None else kept.of
    switcher = RecipeSwitcher(recipes[0], _Shelf(*recipes), bundles, observers.add, limits, kept_of)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            wait_until(lambda: bool(sink.results))
            steer(control)
        except BaseException as error:
            failures.append(error)
        finally:
            control.stop()

    steering = threading.Thread(target=run)
    steering.start()
    live: list[Source] = [FakeSource(None, is_live=True, interval_s=0.002, size_hw=(40, 40))]
    with BundleSwapper(lambda path: first, first, recipes=switcher) as swapper:
        run_stream(
            first.judging.engine,
            sources or live,
            threshold=swapper.first.threshold,
            sinks=[sink],
            observers=[observers],
            control=control,
            swapper=swapper,
            policy=policy,
        )
    steering.join()
    if failures:
        raise failures[0]
    return control


@pytest.mark.parametrize("policy", ["newest", "every"])
def test_each_frame_is_judged_whole_by_the_recipe_it_was_captured_under(policy: str) -> None:
    """100 switches under load, from two sources: bundle, threshold, region and hash always belong together."""
    recipes = [
        _recipe("a", "32", region=Region(0, 0, 20, 30), threshold=0.25),
        _recipe("b", "48"),
        _recipe("c", "32", region=RegionOfShares(0.5, 0.5, 0.5, 0.25)),
    ]
    shapes = {"a": (30, 20), "b": (40, 40), "c": (10, 20)}
    thresholds, sides = {"a": 0.25, "b": 48.0, "c": 32.0}, {"a": "b32", "b": "b48", "c": "b32"}
    sink, slowest = ListSink(), [0.0]

    def steer(control: StreamControl) -> None:
        for number in range(100):
            name = "bca"[number % 3]
            answer = control.switch_recipe(name, by="test").result(PATIENCE_S)
            slowest[0] = max(slowest[0], answer.ms)
            wait_until(lambda: {newest_of(index) for index in range(2)} == {name})  # noqa: B023

    def newest_of(index: int) -> str:
        """Name of the recipe of the newest result of a source."""
        own = (result for result in reversed(sink.results) if result.frame.source_index == index)
        return next((result.recipe.name for result in own), "")

    sources: list[Source] = [FakeSource(None, is_live=True, interval_s=0.001, size_hw=(40, 40)) for _ in range(2)]
    for number, source in enumerate(sources):
        source.rename(f"camera {number}")
    bundles = _Bundles()
    _stream(recipes, sink, steer, bundles=bundles, sources=sources, policy=policy)
    assert len(bundles.opened) == 2  # a and c share one
    for result in sink.results:
        name = result.recipe.name
        assert result.recipe.hash == f"hash of {name}"
        assert result.frame.image.shape[:2] == shapes[name]
        assert (result.bundle, result.threshold) == (sides[name], thresholds[name])
    switched = [event for event in sink.events if event.kind == "recipe switched"]
    assert len(switched) == 100
    for index in range(len(sources)):  # of each source in order: what a switch ended never comes back
        seen = [result.frame.setup for result in sink.results if result.frame.source_index == index]
        assert seen == sorted(seen)
        assert len(set(seen)) >= 100
    assert all(engine.is_closed for _, engine in bundles.opened)


def test_no_frame_that_is_captured_after_the_answer_belongs_to_the_recipe_before() -> None:
    sink = ListSink()
    answered = list[tuple[float, str]]()

    def steer(control: StreamControl) -> None:
        for number in range(20):
            name = "ab"[number % 2 == 0]
            control.switch_recipe(name, by="test").result(PATIENCE_S)
            answered.append((time.perf_counter(), name))
            seen = len(sink.results)
            wait_until(lambda: len(sink.results) > seen + 3)  # noqa: B023

    _stream([_recipe("a", "32"), _recipe("b", "48")], sink, steer)
    for at, name in answered:
        assert next(result for result in sink.results if result.frame.captured_at >= at).recipe.name == name


def test_bundles_that_were_used_last_stay_open_within_the_number() -> None:
    recipes = [_recipe(name, side) for name, side in (("a", "32"), ("b", "40"), ("c", "48"))]
    sink, bundles = ListSink(), _Bundles()

    def steer(control: StreamControl) -> None:
        warm = []
        for name in "bababcba":
            answer = control.switch_recipe(name, by="test").result(PATIENCE_S)
            warm.append(answer.was_warm)
            seen = len(sink.results)
            wait_until(lambda: len(sink.results) > seen + 5)  # noqa: B023
        assert warm == [False, True, True, True, True, False, True, False]

    _stream(recipes, sink, steer, bundles=bundles, limits=WarmLimits(most=2))
    assert [name for name, _ in bundles.opened] == ["32", "40", "48", "32"]


def test_bundles_beyond_the_memory_are_closed_but_never_the_one_in_use() -> None:
    bundles, used = _Bundles(), [0]

    def opened(side: str) -> OpenBundle:
        used[0] += 60
        return bundles(BundleChoice(Path(side)))

    failures = list[Exception]()
    warm = WarmBundles(opened("8"), "a", WarmLimits(9, 100), failures.append, lambda: used[0])
    taken = {name: warm.take(name, lambda side=side: opened(side))[0] for name, side in (("b", "16"), ("c", "32"))}
    assert warm.count == 3  # all are in use, though they take 120
    warm.release(taken["b"].judging.engine)
    assert [engine.is_closed for _, engine in bundles.opened] == [False, True, False]
    warm.release(taken["c"].judging.engine)
    assert warm.take("c", lambda: opened("32"))[1]  # 60 are within the limit
    warm.close()
    assert all(engine.is_closed for _, engine in bundles.opened)
    assert failures == []


def test_threshold_that_an_operator_sets_holds_when_the_warm_bundle_returns(tmp_path: Path) -> None:
    sink, kept = ListSink(), OperatorThresholds(tmp_path)

    def steer(control: StreamControl) -> None:
        kept.keep(control.bundle, 7.5, "Ada")
        for name in "ba":
            control.switch_recipe(name, by="test").result(PATIENCE_S)
        assert (control.recipe.name, control.threshold) == ("a", 7.5)

    _stream([_recipe("a", "32"), _recipe("b", "48")], sink, steer, kept=kept)


def test_prepared_bundle_is_warm_and_nothing_is_switched() -> None:
    sink = ListSink()

    def steer(control: StreamControl) -> None:
        assert not control.switch_recipe("b", by="test", only_prepare=True).result(PATIENCE_S).was_warm
        assert control.recipe.name == "a"
        assert control.switch_recipe(7, by="test").result(PATIENCE_S).was_warm

    control = _stream([_recipe("a", "32"), _recipe("b", "48", number=7)], sink, steer)
    assert [event.data["recipe"] for event in sink.events if event.kind == "recipe switched"] == ["b"]
    assert control.recipe.name == "b"


def test_bundle_that_cannot_stay_open_is_not_said_to_be_prepared() -> None:
    sink = ListSink()

    def steer(control: StreamControl) -> None:
        with pytest.raises(UsageError, match="no room"):
            control.switch_recipe("b", by="test", only_prepare=True).result(PATIENCE_S)
        assert not control.switch_recipe("b", by="test").result(PATIENCE_S).was_warm

    _stream([_recipe("a", "32"), _recipe("b", "48")], sink, steer, limits=WarmLimits(most=1))


_EXPOSED = CameraSettings(exposure_us=100.0)


class _Camera(FakeSource):
    """Takes exposures up to a limit while it runs."""

    def __init__(self, most_us: float) -> None:
        super().__init__(None, is_live=True, interval_s=0.002, size_hw=(40, 40))
        self.most_us, self.exposure_us = most_us, 100.0

    def change(self, settings: CameraSettings) -> Callable[[], None]:
        before, wanted = self.exposure_us, settings.exposure_us or self.exposure_us
        if wanted > self.most_us:
            raise UsageError(f"{self.name} takes {self.most_us:g} at most.")
        self.exposure_us = wanted
        return lambda: setattr(self, "exposure_us", before)


@pytest.mark.parametrize(
    ("camera", "wanted", "why"),
    [
        (_EXPOSED, _recipe("wrong", "broken"), "SHA-256"),
        (_EXPOSED, _recipe("wrong", "48", region=Region(30, 30, 20, 20), camera=_EXPOSED), "beyond the frame"),
        (_EXPOSED, _recipe("wrong", "48", camera=CameraSettings(exposure_us=900.0)), "500 at most"),
        (CameraSettings(), _recipe("wrong", "48", camera=CameraSettings(exposure_us=900.0)), "500 at most"),
        (_EXPOSED, _recipe("wrong", "48", camera=CameraSettings(gain=2.0)), "gives no exposure"),
    ],
)
def test_recipe_that_cannot_be_taken_whole_changes_nothing(camera: CameraSettings, wanted: Recipe, why: str) -> None:
    cameras = [_Camera(1000.0), _Camera(500.0)]
    cameras[1].rename("second")
    before = _recipe("a", "32", camera=camera)
    sink = ListSink()

    def steer(control: StreamControl) -> None:
        with pytest.raises(EdgeAdError, match=why):
            control.switch_recipe("wrong", by="Ada").result(PATIENCE_S)

    _stream([before, wanted], sink, steer, sources=list(cameras))
    assert {result.recipe.name for result in sink.results} == {"a"}
    assert [camera.exposure_us for camera in cameras] == [100.0, 100.0]
    (event,) = [event for event in sink.events if event.kind == "recipe refused"]
    assert event.data["by"] == "Ada"
    assert why in event.text


def test_part_ends_with_the_recipe_that_it_began_under() -> None:
    recipes = [_recipe("a", "32", rules={"part": "1/1000"}), _recipe("b", "32", rules={"part": "1/2"})]
    sink = ListSink()

    def steer(control: StreamControl) -> None:
        control.switch_recipe("b", by="test").result(PATIENCE_S)
        wait_until(lambda: sum(event.kind == "part" for event in sink.events) >= 3)

    _stream(recipes, sink, steer)
    parts = [event.data for event in sink.events if event.kind == "part"]
    assert parts[0]["reason"] == "incomplete"
    assert parts[0]["frames"] == sum(result.recipe.name == "a" for result in sink.results)
    assert {part["frames"] for part in parts[1:-1]} == {2}


def test_request_is_answered_when_the_stream_ends_or_has_no_recipes() -> None:
    with pytest.raises(UsageError, match="has no recipes"):
        StreamControl().switch_recipe("a", by="test").result(0)
    asked = []

    def steer(control: StreamControl) -> None:
        asked.append(control.switch_recipe("b", by="test"))
        control.stop()
        wait_until(lambda: bundles.is_opening)
        asked.append(control.switch_recipe("a", by="test"))

    bundles = _Bundles(opening_s=0.3)
    _stream([_recipe("a", "32"), _recipe("b", "48")], ListSink(), steer, bundles=bundles)
    assert asked[0].done()
    with pytest.raises(UsageError, match="has ended"):
        asked[1].result(0)


@pytest.mark.parametrize(
    ("text", "inside"), [("10%,20%,50%,25%", (20, 20, 100, 25)), ("0%,0%,100%,100%", (0, 0, 200, 100))]
)
def test_region_of_shares_follows_the_frame(text: str, inside: tuple[int, int, int, int]) -> None:
    region = parse_region(text)
    assert isinstance(region, RegionOfShares)
    assert region.in_pixels((100, 200)) == Region(*inside)
    assert region.crop(np.zeros((100, 200, 3), np.uint8)).shape[:2] == (inside[3], inside[2])


@pytest.mark.parametrize("text", ["10%,20%,50", "10%,20%,95%,10%", "10%,20%,0%,10%", "10,20%,5%,5%", "a%,0%,5%,5%"])
def test_region_of_shares_that_is_not_inside_a_frame_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="region"):
        parse_region(text)
