"""The two ways of inference: all waiting frames in one call, or every frame with several calls in flight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.photo_spec import NetworkInput
from edge_ad.prediction import Prediction, Verdict
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.target import available_cores
from edge_ad.scene import SceneReading, measure_scene
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.capture import Closed
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame, Result, Unjudged

__all__ = ["Inference", "Prepared", "opencv_beside", "prepare", "warm_up"]

_IDLE_S = 0.1
_LEAST_PATIENCE_S = 0.002
_MOST_PATIENCE_S = 0.1
_SHARE_WAITED_FOR = 0.25  # of a latency: below, a result was there before it was asked for
_DECAY = 0.9


@contextmanager
def opencv_beside(engine: EngineDescription) -> Iterator[None]:
    """Limit OpenCV to the cores that an engine on the CPU leaves, at least one.

    With more, resizing the next frame would slow down the engine. The number applies to the whole process, and is
    restored at the end. An engine on another device changes nothing.

    Args:
        engine: What runs beside it.
    """
    before = cv2.getNumThreads()
    if engine.device.startswith("CPU"):
        taken = engine.threads or available_cores()
        cv2.setNumThreads(max(1, min(before, available_cores() - taken)))
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@dataclass(frozen=True)
class Prepared:
    """A frame that is ready for the engine.

    Attributes:
        frame: The frame.
        input: The frame in the engine's input.
        prepare_ms: How long that took, and the look at the scene.
        scene: What the picture is like; None where the bundle does not say what its photos were like.
    """

    frame: Frame
    input: NetworkInput
    prepare_ms: float
    scene: SceneReading | None = None


def prepare(frame: Frame, judging: JudgingEngine, counts: Callable[[str], bool]) -> Prepared | Unjudged:
    """Fit a frame to the input of an engine; one whose part cannot be aligned is not judged.

    Args:
        frame: The frame.
        judging: The engine, and the photos it was trained on.
        counts: Reason → whether a frame that is not judged for it still gets a verdict. So does one that is due: its
            part is on the line, and would pass without one.
    """
    started = time.perf_counter()
    made = _input(frame, judging)
    if made.problem and not (frame.is_due or counts(made.problem)):
        return Unjudged(frame, made.problem)
    scene = None if judging.scene is None else SceneReading(measure_scene(made.image), judging.scene)
    return Prepared(frame, made, _ms_since(started), scene)


def _input(frame: Frame, judging: JudgingEngine) -> NetworkInput:
    size_hw = judging.engine.describe().input_size_hw
    if frame.problem:  # it goes through the engine like the others, to come out in its place among them
        return NetworkInput(np.zeros((*size_hw, 3), np.uint8), problem=frame.problem)
    return judging.photos.prepare(frame.image, size_hw)


def warm_up(engine: Engine, *, one_at_a_time: bool, in_flight: bool, batch: int | None) -> None:
    """Have the engine do its one-time work before the first frame waits for it.

    Args:
        engine: An open engine.
        one_at_a_time: Whether it will judge single frames.
        in_flight: Whether it will have several under way.
        batch: How many frames it will judge in one call; None for no such calls.
    """
    grey = np.full((1, *engine.describe().input_size_hw, 3), 127, np.uint8)
    if one_at_a_time:
        engine.warm_up()
    if in_flight:
        for _ in engine.infer_many([grey] * 3):
            pass
    if batch is not None and batch > 1:
        engine.infer(np.repeat(grey, batch, axis=0))


class Inference:
    """Judges frames with the active engine; one thread makes all calls.

    Args:
        active: Gives the engine.
        control: Gives the threshold.
        batch: Frames per call of the engine; None never stacks frames, and has several calls in flight instead.
        counts: As `prepare` takes it.
    """

    def __init__(
        self, active: ActiveEngine, control: StreamControl, batch: int | None, counts: Callable[[str], bool]
    ) -> None:
        self._active, self._control, self._counts = active, control, counts
        self._batch = batch if batch is not None and batch > 1 else None
        self._latency_s = _LEAST_PATIENCE_S
        self._given_at: float | None = None
        self._held: Prepared | None = None  # the first one for another engine

    @property
    def stalled_s(self) -> float:
        """Seconds since the engine last gave a result while it holds frames; 0 while it holds none."""
        given_at = self._given_at
        return 0.0 if given_at is None else time.perf_counter() - given_at

    def newest(self, take: Callable[[float], list[Frame]]) -> Generator[Result | Unjudged, None, None]:
        """Prepare and judge the waiting frames, at most those of one call: the least latency, for live sources.

        Args:
            take: Timeout in seconds → the waiting frames, empty when the time is over; raises when there are no more.
        """
        while True:
            frames = take(_IDLE_S)
            items = [prepare(frame, self._active.of(frame.setup), self._counts) for frame in frames]
            yield from (item for item in items if isinstance(item, Unjudged))
            for group in _by_setup([item for item in items if isinstance(item, Prepared)]):
                yield from self._judged(self._active.of(group[0].frame.setup), group)

    def every(self, take: Callable[[float], Prepared | None]) -> Generator[Result, None, None]:
        """Judge every frame, as many at once as the engine has requests: the most frames per second, for files.

        Args:
            take: Timeout in seconds → the next frame, None when the time is over; raises when there are no more.
        """
        while True:
            first, self._held = self._held or take(_IDLE_S), None
            if first is None:
                continue
            judging = self._active.of(first.frame.setup)
            waiting = self._while_they_come(first, take)
            if self._batch is None:
                yield from self._in_flight(judging, waiting)
            else:
                yield from self._in_batches(judging, waiting, self._batch)

    def _while_they_come(self, first: Prepared, take: Callable[[float], Prepared | None]) -> Iterator[Prepared]:
        """Frames until none came for a whole latency, when those in flight are done, or one is for another engine."""
        item: Prepared | None = first
        while item is not None:
            if item.frame.setup != first.frame.setup:
                self._held = item
                return
            yield item
            try:
                item = take(min(max(self._latency_s, _LEAST_PATIENCE_S), _MOST_PATIENCE_S))
            except Closed:
                return  # what is in flight comes out first

    def _in_batches(self, judging: JudgingEngine, items: Iterator[Prepared], batch: int) -> Iterator[Result]:
        group: list[Prepared] = []
        for item in items:
            group.append(item)
            if len(group) == batch:
                yield from self._judged(judging, group)
                group = []
        yield from self._judged(judging, group)

    def _judged(self, judging: JudgingEngine, group: list[Prepared]) -> Iterator[Result]:
        if len(group) == 1:
            started = self._given_at = time.perf_counter()
            item = group[0]
            prediction = judging.engine.infer(item.input.image[np.newaxis])[0]
            yield self._result(judging, item, prediction, started)
        elif group and len(group) == self._batch:
            started = self._given_at = time.perf_counter()
            predictions = judging.engine.infer(np.stack([item.input.image for item in group]))
            results = [self._result(judging, *pair, started) for pair in zip(group, predictions, strict=True)]
            yield from results
        elif group:
            yield from self._in_flight(judging, iter(group))

    def _in_flight(self, judging: JudgingEngine, items: Iterator[Prepared]) -> Iterator[Result]:
        waiting: deque[tuple[Prepared, float]] = deque()
        asked_at = 0.0  # since when the engine has had nothing to do but to give a result

        def images() -> Iterator[NDArray[np.uint8]]:
            nonlocal asked_at
            for item in items:
                started = asked_at = time.perf_counter()
                waiting.append((item, started))
                self._given_at = self._given_at or started
                yield item.input.image[np.newaxis]
            asked_at = time.perf_counter()

        patience_s = self._latency_s
        for prediction in judging.engine.infer_many(images()):
            item, started = waiting.popleft()
            now = time.perf_counter()
            if now - asked_at < _SHARE_WAITED_FOR * (now - started):
                # It was there before it was asked for: the time between is the wait for frames, not the engine's.
                patience_s = min(patience_s, now - started) * _DECAY
            else:
                patience_s = now - started
            result = self._result(judging, item, prediction, started)
            self._latency_s = patience_s
            self._given_at = time.perf_counter() if waiting else None
            yield result

    def _result(self, judging: JudgingEngine, item: Prepared, prediction: Prediction, started: float) -> Result:
        self._given_at = None
        infer_ms = _ms_since(started)
        self._latency_s = infer_ms / 1e3
        bundle = judging.bundle["hash"]
        threshold = self._active.threshold_of(item.frame.setup, lambda: self._control.threshold)
        if item.input.problem:
            return Result.of_unjudged(item.frame, item.input.problem, threshold, bundle, judging.mark)
        verdict = Verdict.judge(prediction, threshold)
        height, width = item.frame.image.shape[:2]
        on_photo = judging.photos.map_on_photo(prediction.anomaly_map, (height, width), item.input.matrix)
        if on_photo is not prediction.anomaly_map:
            prediction = Prediction(prediction.score, on_photo)
        age_ms = _ms_since(item.frame.captured_at)
        times = (item.prepare_ms, infer_ms, age_ms)
        return Result(item.frame, prediction, verdict, *times, bundle, item.scene, judging.mark, judging.product)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


def _by_setup(items: list[Prepared]) -> list[list[Prepared]]:
    """The frames of each engine, those of the former one first."""
    numbers = sorted({item.frame.setup for item in items})
    return [[item for item in items if item.frame.setup == number] for number in numbers]
