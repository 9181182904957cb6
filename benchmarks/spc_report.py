"""How long a report of statistics takes on many records: ``python -m benchmarks.spc_report [--records 1000000]``."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from edge_ad.spc import StatisticsRequest, statistics_of
from edge_ad.spc.page import render_statistics
from edge_ad.streaming.records import RecordStore, VerdictRow
from edge_ad.streaming.records.reader import RecordReader
from edge_ad.strict_json import to_json

_START, _STEP_S, _BATCH = 1_790_000_000.0, 1.0, 20_000
_Made = TypeVar("_Made")


def main() -> None:
    """Record, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    count = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.sqlite"
        record(path, count)
        with RecordReader(path) as reader:
            request = StatisticsRequest(since_unix=_START + 0.3 * count * _STEP_S)
            found, compute_s = timed(lambda: statistics_of(reader, request))
        _, page_s = timed(lambda: render_statistics(found, "line"))
        base = 0 if found.share_base is None else found.share_base.subgroups
        print(f"{count} records of {path.stat().st_size / 1e6:.0f} MB, {found.frames} of them in the period,")
        print(
            f"{len(found.subgroups)} subgroups and {base} of the base period: {compute_s:.2f} s; page: {page_s:.2f} s"
        )


def record(path: Path, count: int) -> None:
    """Write records of two sources, one in a hundred NG with a region."""
    rng, store = np.random.default_rng(0), RecordStore(path, source="line")
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        is_ng, scores = rng.random(len(numbers)) < 0.01, 0.5 + 0.05 * rng.standard_normal(len(numbers))
        boxes = rng.integers(0, 600, (len(numbers), 2))
        store.commit(
            [
                _row(number, bool(ng), float(score), box)
                for number, ng, score, box in zip(numbers, is_ng, scores, boxes, strict=True)
            ]
        )
    store.close()


def timed(function: Callable[[], _Made]) -> tuple[_Made, float]:
    """What a function returns, and the seconds that it took."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def _row(number: int, is_ng: bool, score: float, box: np.ndarray) -> VerdictRow:
    at, score = _START + number * _STEP_S, 1.5 if is_ng else score
    region = {"x": int(box[0]), "y": int(box[1]), "width": 40, "height": 30, "area": 900, "peak": 1.5}
    regions = to_json([region]) if is_ng else ""
    source = f"camera {number % 2}"
    return VerdictRow(source, "b1", number, at, score, 1.0, is_ng, 3.0, 4.5, None, "", "", regions)


if __name__ == "__main__":
    main()
