"""Does ``benchmarks.report --compare`` find a build that is a tenth slower, and leave noise alone? On a real engine.

    python -m benchmarks.suites.detection BUNDLE --data FOLDER --repetitions 20 --out detection.jsonl

A repetition is a short session in which the engine, the same engine again, and the engine with a busy wait after every
run take turns. Their rows are compared as the report compares them: the second with the first (noise), the delayed one
with the first (a slower build), in the same session (paired) and with the first of the session before (by the
yardstick). A line of the file is one repetition; run it again to add more.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from benchmarks.report.comparison import Limits, compare_results
from benchmarks.report.rows import LatencyRow
from benchmarks.suites.engine_rows import engine_row
from benchmarks.suites.machine import machine_facts
from benchmarks.suites.record import append_row, now
from benchmarks.suites.session import Candidate, delayed, measure_in_turns
from benchmarks.suites.stability import Settings
from benchmarks.suites.stages import FramePath
from benchmarks.suites.steal import StealClock, is_calm
from benchmarks.suites.yardstick import Yardstick
from edge_ad.bundle import Bundle
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.latency import Frames, read_frames
from edge_ad.runtime import Engine, open_engine

_SHORT = Settings(seconds=2.4, runs=120, most_windows=3, rounds=6, quick=True, patience_s=8.0)
_NAMES = ("first", "second", "delayed")


def session_rows(
    bundle: Bundle, engine: Engine, frames: Frames, delay: float, settings: Settings = _SHORT
) -> dict[str, LatencyRow]:
    """Rows of the engine, of the same engine again, and of the engine with a delay, from one session.

    Args:
        bundle: Where the engine comes from.
        engine: Open engine.
        frames: Decoded frames.
        delay: Busy wait after each run, as a share of the engine's median.
        settings: How long.
    """
    size_hw, threshold, yardstick = engine.describe().input_size_hw, engine.threshold.value, Yardstick()
    candidates = {name: Candidate(FramePath(engine.infer, size_hw, threshold, images=frames.images)) for name in _NAMES}
    slow = candidates["delayed"]
    slow.path.replace_engine(delayed(engine.infer, delay * _median_ms(slow)))
    measure_in_turns(list(candidates.values()), yardstick, settings)
    facts = {"session": secrets.token_hex(6), "machine": machine_facts(yardstick.name), "batch": 1, "frames": {}}
    return {
        name: LatencyRow.model_validate(engine_row(bundle, engine, candidate, settings, facts))
        for name, candidate in candidates.items()
    }


def _median_ms(candidate: Candidate) -> float:
    """Of a block in which nothing was stolen, or of the last of four."""
    for _ in range(4):
        clock = StealClock()
        found = candidate.run_block(0.5, 20)
        if is_calm(clock.lap()):
            break
    candidate.path.log.marks.clear()
    return found


def compared(new: LatencyRow, old: LatencyRow) -> dict[str, Any]:
    """What the report says of two rows, with its default limits."""
    (change,) = compare_results([new], [old], Limits()).changes
    interval = change.interval
    return {
        "how": change.how,
        "flagged": change.is_regression,
        "verdict": change.verdict,
        "ratio": interval.ratio,
        "low": interval.low,
        "high": interval.high,
    }


def repetition(rows: dict[str, LatencyRow], before: dict[str, LatencyRow] | None) -> dict[str, Any]:
    """Comparisons of a session, with itself and with the one before it."""
    found = {
        "paired": {"noise": compared(rows["second"], rows["first"]), "delay": compared(rows["delayed"], rows["first"])}
    }
    if before is not None:
        noise, delay = (compared(rows[name], before["first"]) for name in ("first", "delayed"))
        found["yardstick"] = {"noise": noise, "delay": delay}
    return found


def measure(chosen: Any) -> None:
    """Repeat and append a row each time."""
    bundle = Bundle.open(chosen.bundle)
    frames = read_frames(bundle, chosen.data)
    with open_engine(bundle, backend=chosen.backend, precision=chosen.precision, threads=chosen.threads) as engine:
        before = None
        for _ in range(chosen.repetitions + 1):  # the first has none before it
            rows = session_rows(bundle, engine, frames, chosen.delay)
            if before is not None:
                append_row(chosen.out, _row(rows, before, chosen))
            before = rows


def _row(rows: dict[str, LatencyRow], before: dict[str, LatencyRow], chosen: Any) -> dict[str, Any]:
    first = rows["first"]
    stolen = [item.stolen for item in first.rounds if item.stolen is not None]
    return {
        "kind": "detection",
        "recorded": now(),
        "product": first.product,
        "engine": f"{first.method}, {first.engine.backend} {first.engine.precision}",
        "delay": chosen.delay,
        "p50_ms": first.end_to_end.p50_ms,
        "rounds": len(first.rounds),
        "calm_rounds": sum(item.is_calm for item in first.rounds),
        "stolen": sum(stolen) / len(stolen) if stolen else None,
        **repetition(rows, before),
        "machine": first.machine,
    }


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("bundle", type=Path)
    made.add_argument("--data", type=Path, help="product whose photos are the frames")
    made.add_argument("--backend", default="openvino")
    made.add_argument("--precision", default="int8")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--repetitions", type=int, default=20)
    made.add_argument("--delay", type=float, default=0.1, help="share of the engine's median")
    made.add_argument("--out", type=Path, default=Path("detection.jsonl"))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure and append rows."""
    try:
        measure(parser().parse_args(arguments))
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
