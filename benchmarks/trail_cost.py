"""What the trail of the records costs the database sink: with it and without it in turn, in CPU time.

python -m benchmarks.trail_cost [--rounds 9]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from edge_ad.prediction import Prediction, Verdict
from edge_ad.streaming.frame import Frame, Result
from edge_ad.streaming.records import RecordStore, VerdictRow, trail
from edge_ad.streaming.records.trail_check import verify_trail
from edge_ad.streaming.sinks.database import DatabaseSink
from edge_ad.streaming.sources import SourceOptions, source_from_uri

_FRAMES, _SINGLE = 20_000, 3000


class _NoTrail:
    """Numbers the rows as `EntryWriter` does, and hashes nothing."""

    entry = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        newest = connection.execute("SELECT coalesce(max(id), 0) FROM verdicts").fetchone()
        self.last_verdict = self._verdict = newest[0]

    def verdict(self, context: bytes, cells: trail.VerdictCells) -> tuple[int, int]:
        """The next id."""
        self._verdict += 1
        return self._verdict, 0

    def finish(self) -> None:
        """Nothing."""


def _results() -> list[Result]:
    image, anomaly_map = np.zeros((32, 32, 3), np.uint8), np.zeros((8, 8), np.float32)
    made = []
    for index in range(1000):
        prediction = Prediction(0.5 + index * 1e-6, anomaly_map)
        frame = Frame(index, image, 0.0, 1.7e9 + index / 25, 1.0, source="line")
        made.append(Result(frame, prediction, Verdict.judge(prediction, 1.0), 1.0, 2.0, 4.5, "b" * 64))
    return made


def _cpu_us(results: list[Result]) -> float:
    """CPU time of the sink for one verdict, in µs: from `write` to the end of `close`."""
    with tempfile.TemporaryDirectory() as folder:
        sink = DatabaseSink(Path(folder) / "line.sqlite")
        sink.begin(source_from_uri(folder, SourceOptions()))
        started = time.process_time()
        for number in range(_FRAMES):
            sink.write(results[number % len(results)], None)
        sink.close()
        return (time.process_time() - started) / _FRAMES * 1e6


def _single_us() -> float:
    """CPU time of a transaction of one verdict, in µs."""
    with tempfile.TemporaryDirectory() as folder:
        return _recorded_singly(Path(folder) / "line.sqlite")


def _recorded_singly(path: Path) -> float:
    rows = [
        VerdictRow("line", "b" * 64, n, 1.7e9 + n / 25, 0.5 + n * 1e-6, 1.0, False, 3.0, 4.5) for n in range(_SINGLE)
    ]
    store = RecordStore(path, source="line")
    started = time.process_time()
    for row in rows:
        store.commit([row])
    took = time.process_time() - started
    store.close()
    return took / _SINGLE * 1e6


def _verified_per_s() -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.sqlite"
        _recorded_singly(path)
        started = time.process_time()
        report = verify_trail(path)
        assert report.verdicts == _SINGLE
        assert not report.problems
        return _SINGLE / (time.process_time() - started)


def _without(measure: Callable[[], float]) -> float:
    with mock.patch("edge_ad.streaming.records.store.EntryWriter", _NoTrail):
        return measure()


def main() -> None:
    """Print medians, and the median of the rounds' ratios, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds, results = parser.parse_args().rounds, _results()
    found: dict[str, object] = {}
    measures = {"many": lambda: _cpu_us(results), "single": _single_us}
    for name, measure in measures.items():
        pairs = [(_without(measure), measure()) for _ in range(rounds)]
        without, with_trail = (round(statistics.median(column), 2) for column in zip(*pairs, strict=True))
        ratio = round(statistics.median(one / other for other, one in pairs), 3)
        found[name] = {"without_us": without, "with_us": with_trail, "ratio": ratio}
    print(json.dumps({**found, "verified_per_s": round(_verified_per_s())}))


if __name__ == "__main__":
    main()
