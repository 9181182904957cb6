"""How soon a frame has its result where frames come one by one, after the engine once was slow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.prediction import Prediction
from edge_ad.streaming import inference
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.inference import Inference, Prepared, prepare
from tests.streaming.fakes import SIZE_HW, FakeEngine

_DEPTH, _LATENCY_S = 4, 0.005


class _Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def wait_until(self, moment: float) -> None:
        self.now = max(self.now, moment)


class _Overlapping(FakeEngine):
    """Works on four frames at once, on a clock; the first one takes far longer."""

    def __init__(self, clock: _Clock, first_s: float) -> None:
        super().__init__()
        self._clock, self._next_s = clock, first_s

    def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
        under_way: deque[float] = deque()
        for _ in frames:
            under_way.append(self._clock.now + self._next_s)
            self._next_s = _LATENCY_S
            if len(under_way) == _DEPTH:
                yield self._of(under_way.popleft())
        while under_way:
            yield self._of(under_way.popleft())

    def _of(self, done_at: float) -> Prediction:
        self._clock.wait_until(done_at)
        return Prediction(0.0, np.zeros(SIZE_HW, np.float32))


def test_after_one_slow_call_results_come_again_as_soon_as_the_engine_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, every_s, frames = _Clock(), 0.05, 60
    monkeypatch.setattr(inference, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    engine, control = _Overlapping(clock, first_s=0.06), StreamControl(1.0)
    judging = JudgingEngine(engine, control.bundle, 1.0)
    arrivals = iter([(index, 100.0 + index * every_s) for index in range(frames)])
    coming: list[tuple[int, float]] = []

    def take(timeout_s: float) -> Prepared | None:
        if not coming:
            coming.append(next(arrivals))
        index, at = coming[0]
        if at > clock.now + timeout_s:
            clock.wait_until(clock.now + timeout_s)
            return None
        clock.wait_until(at)
        coming.clear()
        image = np.zeros((*SIZE_HW, 3), np.uint8)
        prepared = prepare(Frame(index, image, at, at, 0.0), judging, lambda reason: False)
        assert isinstance(prepared, Prepared)
        return prepared

    results = Inference(ActiveEngine(judging), control, None, lambda reason: False).every(take)
    with engine:
        ages = [next(results).age_ms for _ in range(frames - _DEPTH)]
    assert ages[0] > 59
    assert max(ages[-20:]) < 2.5e3 * _LATENCY_S
