"""Judged frames made by hand, and a control that keeps the events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event, Frame, Result

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
MAP = np.zeros((2, 2), np.float32)
PATIENCE_S = 60.0  # reached only where something is wrong, however busy the machine is
CAPTURED_UNIX = 1_700_000_000.25


def make_result(
    index: int = 0,
    score: float = 1.5,
    *,
    at: float = 0.0,
    unix: float = CAPTURED_UNIX,
    source: str = "",
    threshold: float = 1.0,
    bundle: str = "b1",
    part: str = "",
    anomaly_map: NDArray[np.float32] = MAP,
) -> Result:
    frame = Frame(index, IMAGE, at, unix, 1.0, source=source, part=part)
    prediction = Prediction(score, anomaly_map)
    return Result(frame, prediction, Verdict.judge(prediction, threshold), 1.0, 2.0, 4.5, bundle)


class Told(StreamControl):
    """Keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def wait_until(holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait for what another thread or process does."""
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


@contextmanager
def no_thread_left(name: str) -> Iterator[None]:
    """Threads whose name begins so and that are started inside end by themselves."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not [one for one in set(threading.enumerate()) - before if one.name.startswith(name)])
