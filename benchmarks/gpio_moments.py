"""How far pulses of ``--gpio`` are from their moment: ``python -m benchmarks.gpio_moments [--pulses 500]``.

The lines are a double that notes the time, in the process that otherwise holds a chip: what is measured is how late
that process is woken, with real-time priority and without. The delay is 50 ms; another process keeps each core busy.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.plc_latency import NoSource
from edge_ad.plc import GpioOptions, GpioSink, ResultRule
from edge_ad.plc.gpio_process import serve, take_priority
from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.progress import Progress

_DELAY_S, _INTERVAL_S = 0.05, 0.02
_ROOT = Path(__file__).parents[1]


class NotedLines:
    """Lines that only note when they were set.

    Args:
        path: A line of it for each pulse: the time, by the monotonic clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, output: str, is_active: bool) -> None:
        """Note a pulse."""
        at = time.monotonic()
        if is_active and output == "ng":
            with self._path.open("a") as file:
                file.write(f"{at}\n")

    def edges(self) -> list[float]:
        """There is no encoder."""
        return []

    def fileno(self) -> int:
        """There is none."""
        return -1

    def close(self) -> None:
        """Nothing to give back."""


def hold(path: str, has_priority: bool) -> None:
    """What the process does."""
    if has_priority and not take_priority():
        sys.exit("real-time priority is not allowed here")
    os.write(1, b'{"open": true}\n')
    serve(GpioOptions.from_dict(json.loads(sys.argv[1])), NotedLines(Path(path)))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pulses", type=int, default=500)
    count = parser.parse_args().pulses
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in busy:
        process.start()
    for has_priority in (True, False):
        due, given = measure(count, has_priority=has_priority)
        late_ms = 1e3 * np.array([at - due[due <= at].max() for at in given])
        print("with" if has_priority else "without", f"real-time priority: {len(given)} of {count} pulses", end=", ")
        print(f"late by ms: p50 {np.percentile(late_ms, 50):.2f}, p99 {np.percentile(late_ms, 99):.2f}", end=", ")
        print(f"most {late_ms.max():.2f}")
    for process in busy:
        process.terminate()


def measure(count: int, *, has_priority: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give pulses.

    Returns:
        When each was due, and when those that were given began.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "pulses"
        text = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from benchmarks.gpio_moments import hold; "
        text += f"hold({str(log)!r}, {has_priority})"
        options = GpioOptions.parse("gpiochip0,ng=17,pulse=15ms,delay=50ms")
        sink = GpioSink(options, ResultRule(), command=[sys.executable, "-c", text])
        control = StreamControl(1.0)
        control.report_from(lambda: Progress(seconds=1.0))
        sink.attach(control)
        sink.begin(NoSource())
        due = [_ask(sink, index) for index in range(count)]
        sink.close()
        return np.array(due), np.array([float(line) for line in log.read_text().splitlines()])


def _ask(sink: GpioSink, index: int) -> float:
    time.sleep(_INTERVAL_S)
    offset, at = time.monotonic() - time.perf_counter(), time.perf_counter()
    prediction = Prediction(1.5, np.zeros((2, 2), np.float32))
    frame = Frame(index, np.zeros((48, 64, 3), np.uint8), at, time.time(), 0.0)
    sink.write(Result(frame, prediction, Verdict.judge(prediction, 1.0), 0.0, 0.0, 0.0, ""), None)
    return at + offset + _DELAY_S


def _spin() -> None:
    while True:
        sum(range(10_000))


if __name__ == "__main__":
    main()
