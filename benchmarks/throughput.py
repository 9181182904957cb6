"""Frames per second of a detector's engine with several frames in flight, against eager torch on the whole machine.

    python -m benchmarks.throughput --data FOLDER --runs FOLDER --out throughput.jsonl [--methods patch-metric ...]
        [--precisions int8 int8-bf16]

A frame is a decoded photo, which is resized, scored and judged. Torch works both ways that a machine can be filled: one
process on all cores, and one process per core with one thread each; the faster is what the engine is compared with. All
take turns, in several rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.torch_workers import torch_workers
from edge_ad.bundle import Bundle
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.latency import Frames, pipelined_fps, read_frames
from edge_ad.images import resize
from edge_ad.runtime import open_engine
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.target import available_cores

__all__ = ["engine_frames_per_second", "main", "measure"]

METHODS = ("patch-gaussian", "patch-metric", "simplenet", "pbas", "boundary-shuffling")


def measure(run: Path, data: Path, precision: str, *, rounds: int, seconds: float) -> dict[str, Any]:
    """One row: medians over rounds, and the ratio of each round.

    Args:
        run: Folder of a run, with its bundle and an engine of the precision in it.
        data: Product whose photos are the frames.
        precision: Of the engine.
        rounds: Rounds, >= 1.
        seconds: Time of each side in a round.
    """
    bundle = Bundle.open(run / "bundle")
    frames, cores = read_frames(bundle, data), available_cores()
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(bundle, precision=precision, threads=cores))
        workers = {
            f"{processes} x {threads} threads": stack.enter_context(
                torch_workers(run, list(frames.images), processes=processes, threads=threads)
            )
            for processes, threads in dict.fromkeys([(1, cores), (cores, 1)])
        }
        sides: dict[str, Callable[[float], float]] = {
            "ours": lambda time: engine_frames_per_second(engine, frames, time),
            **{name: worker.frames_per_second for name, worker in workers.items()},
        }
        found: dict[str, list[float]] = {name: [] for name in sides}
        for index in range(rounds):
            for name in list(sides) if index % 2 == 0 else reversed(list(sides)):
                found[name].append(sides[name](seconds))
    return {"engine": engine.describe().source, "cores": cores, **_summary(found)}


def engine_frames_per_second(engine: Engine, frames: Frames, seconds: float) -> float:
    """Decoded frames resized and scored, with as many in flight as the engine takes."""
    size_hw = engine.describe().input_size_hw
    return pipelined_fps(engine, (resize(image, size_hw)[np.newaxis] for image in frames.endless()), seconds)


def _summary(found: dict[str, list[float]]) -> dict[str, Any]:
    medians = {name: statistics.median(values) for name, values in found.items()}
    rival = max((name for name in found if name != "ours"), key=medians.__getitem__)
    per_round = [ours / theirs for ours, theirs in zip(found["ours"], found[rival], strict=True)]
    return {
        "fps": round(medians["ours"], 1),
        "torch": {name: round(median, 1) for name, median in medians.items() if name != "ours"},
        "ratio": round(medians["ours"] / medians[rival], 2),
        "ratio_per_round": [round(ratio, 2) for ratio in per_round],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Append one line of JSON for each row that is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a product")
    parser.add_argument("--runs", type=Path, required=True, help="runs are <runs>/<product>/<method>-0")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--precisions", nargs="+", default=["int8"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each side in a round")
    chosen = parser.parse_args(arguments)
    try:
        _append_rows(chosen)
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _append_rows(chosen: argparse.Namespace) -> None:
    lines = chosen.out.read_text(encoding="utf-8").splitlines() if chosen.out.is_file() else []
    done = {(row["product"], row["method"], row["precision"]) for row in map(json.loads, lines)}
    for method, precision in product(chosen.methods, chosen.precisions):
        if (chosen.data.name, method, precision) in done:
            continue
        run = chosen.runs / chosen.data.name / f"{method}-0"
        row = {"product": chosen.data.name, "method": method, "precision": precision}
        row |= measure(run, chosen.data, precision, rounds=chosen.rounds, seconds=chosen.seconds)
        with chosen.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
