"""The same work by what a user would pick instead, in turns in one run: ratios, not times.

    python -m benchmarks.suites.peers BUNDLE --run RUN --data FOLDER --out peers.jsonl

Engine alone: a frame of the input size through our engine, through plain OpenVINO and plain ONNX Runtime on the same
graph (no class of ours around them), and through OpenVINO's own ``benchmark_app`` on it, with the same settings: the
ceiling. End to end: from a decoded frame to a verdict, by our engine, by eager FP32 torch, and by anomalib's OpenVINO
inferencer with each model of ``--anomalib FOLDER``, made by `benchmarks.suites.anomalib_export` (random weights) or
`benchmarks.suites.peer_accuracy` (fitted); the ceiling stands beside it. ``--beside NAME=BUNDLE`` adds other bundles of
ours to the same run. ``make peers`` makes all of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.suites.anomalib_peer import anomalib_ways
from benchmarks.suites.benchmark_app import benchmark_app
from benchmarks.suites.machine import machine_facts
from benchmarks.suites.record import append_row, now
from benchmarks.suites.ways import Block, Turns, Way, in_turns, plain_onnxruntime, plain_openvino, timed
from edge_ad.bundle import Bundle
from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.latency import Frames, frame_judge, read_frames
from edge_ad.runtime import Engine, open_engine
from edge_ad.training.predictor import open_run

OURS = "edge-ad"
TORCH = "eager FP32 torch"
CEILING = "benchmark_app"
_SCOPES = ("engine", "end-to-end")
_CEILING_NOTE = "OpenVINO's own, the graph alone on the same frames and settings: the ceiling"


def peers_row(
    scope: str, turns: Turns, notes: Mapping[str, str], sizes: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The row: each way's median over the reference's, in each calm round and over them.

    Args:
        scope: What was done.
        turns: What each way took; the reference is `OURS`.
        notes: Name → what to know about it.
        sizes: Name → MiB of its model, where that is known.
    """
    calm = turns.calm
    own = [turns.blocks[OURS][index] for index in calm]
    sides = [_side(name, [blocks[index] for index in calm], own, notes) for name, blocks in turns.blocks.items()]
    for side in sides:
        side["model_mib"] = (sizes or {}).get(side["name"])
    rounds = {"rounds": len(turns.stolen), "calm_rounds": len(calm), "stolen_per_round": turns.stolen}
    return {"kind": "peers", "recorded": now(), "scope": scope, "reference": OURS, "sides": sides, **rounds}


def _side(name: str, blocks: Sequence[Block], own: Sequence[Block], notes: Mapping[str, str]) -> dict[str, Any]:
    pairs = list(zip(blocks, own, strict=True))
    ratios = [block.p50_ms / ours.p50_ms for block, ours in pairs]
    cpu = [block.cpu_ms for block in blocks if block.cpu_ms is not None]
    cpu_ratios = [block.cpu_ms / ours.cpu_ms for block, ours in pairs if block.cpu_ms and ours.cpu_ms]
    return {
        "name": name,
        "p50_ms": median(block.p50_ms for block in blocks),
        "runs": sum(block.runs for block in blocks),
        "ratio": median(ratios),
        "ratio_per_round": ratios,
        "cpu_ms": median(cpu) if cpu else None,
        "cpu_ratio": median(cpu_ratios) if cpu_ratios else None,
        "note": notes.get(name, ""),
    }


def measure(chosen: Any) -> None:
    """Both scopes, a row each."""
    bundle = Bundle.open(chosen.bundle)
    frames = read_frames(bundle, chosen.data)
    facts = {"bundle": bundle.root.name, "product": bundle.manifest.product, "threads": chosen.threads}
    facts["machine"] = machine_facts("none", packages=("torch",))
    name = f"{bundle.manifest.method} {chosen.precision}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(
            open_engine(bundle, backend="openvino", precision=chosen.precision, threads=chosen.threads)
        )
        alone = _engine_ways(engine, bundle.graph_path(chosen.precision), frames, chosen.threads, folder)
        if "engine" in chosen.what:
            row = peers_row(f"{name} engine alone", _turns(alone, chosen), {CEILING: _CEILING_NOTE})
            append_row(chosen.out, {**row, **facts})
        if "end-to-end" in chosen.what:
            ways, notes, missing = _end_to_end(engine, frames, chosen, folder, stack)
            ways[CEILING], notes[CEILING] = alone[CEILING], _CEILING_NOTE
            row = peers_row(f"{name} end to end", _turns(ways, chosen), notes, _sizes(bundle, chosen))
            append_row(chosen.out, {**row, **facts, "not_measured": missing})


def _turns(ways: Mapping[str, Way], chosen: Any) -> Turns:
    return in_turns(ways, chosen.rounds, chosen.seconds, chosen.patience)


def _engine_ways(engine: Engine, graph: Path, frames: Frames, threads: int, folder: Path) -> dict[str, Way]:
    size_hw = engine.describe().input_size_hw
    batches = [frames.photos.prepare(image, size_hw).image[np.newaxis] for image in frames.images]
    endless = Frames(frames.source, batches).endless()
    return {
        OURS: timed(lambda: engine.infer(next(endless))),
        CEILING: benchmark_app(graph, batches, threads, folder),
        "plain OpenVINO": timed(plain_openvino(graph, batches, threads)),
        "plain ONNX Runtime": timed(plain_onnxruntime(graph, batches, threads)),
    }


def _end_to_end(
    engine: Engine, frames: Frames, chosen: Any, folder: Path, stack: ExitStack
) -> tuple[dict[str, Way], dict[str, str], dict[str, str]]:
    """Ways, what to know about them, and why some are not there."""
    ways = {OURS: _judged_by(engine, frames)}
    missing: dict[str, str] = {}
    if chosen.run is None:
        missing[TORCH] = "no run was given (--run)"
    else:
        rival = open_run(chosen.run, chosen.threads)
        value = engine.threshold.value
        ways[TORCH] = timed(frame_judge(rival.predict, frames.endless(), rival.size_hw, value, frames.photos))
    for name, path in chosen.beside:
        bundle = Bundle.open(path)
        other = open_engine(bundle, backend="openvino", precision=chosen.precision, threads=chosen.threads)
        ways[f"{OURS} {name}"] = _judged_by(stack.enter_context(other), read_frames(bundle, chosen.data))
    if not chosen.anomalib:
        return ways, {}, {**missing, "anomalib": "its models were not exported (make peers does)"}
    others, notes, failed = stack.enter_context(
        anomalib_ways(chosen.anomalib_python, chosen.anomalib, frames.images, chosen.threads, folder)
    )
    return ways | others, notes, missing | failed


def _sizes(bundle: Bundle, chosen: Any) -> dict[str, float]:
    """Name → MiB of the graph with its weights."""
    ours = {OURS: bundle} | {f"{OURS} {name}": Bundle.open(path) for name, path in chosen.beside}
    files = {name: [item.graph_path(chosen.precision)] for name, item in ours.items()}
    theirs = [path for folder in chosen.anomalib for path in folder.glob("*.xml")]
    files |= {f"anomalib {path.stem}": [path, path.with_suffix(".bin")] for path in theirs}
    return {name: sum(path.stat().st_size for path in paths) / 2**20 for name, paths in files.items()}


def _judged_by(engine: Engine, frames: Frames) -> Way:
    size_hw, value = engine.describe().input_size_hw, engine.threshold.value
    return timed(frame_judge(engine.infer, frames.endless(), size_hw, value, frames.photos))


def _named_bundle(text: str) -> tuple[str, Path]:
    name, separator, path = text.rpartition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=BUNDLE")
    return name, Path(path)


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("bundle", type=Path)
    made.add_argument("--run", type=Path, help="run of the bundle, for eager torch")
    made.add_argument("--data", type=Path, help="product whose photos are the frames")
    made.add_argument("--precision", default="int8")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    made.add_argument("--what", nargs="+", choices=_SCOPES, default=list(_SCOPES))
    made.add_argument("--rounds", type=int, default=10)
    made.add_argument("--seconds", type=float, default=1.0, help="of each block")
    made.add_argument("--patience", type=float, default=120.0, help="seconds of a scope after which no round begins")
    made.add_argument("--beside", type=_named_bundle, nargs="+", default=[], metavar="NAME=BUNDLE", help="more of ours")
    made.add_argument("--anomalib", type=Path, nargs="+", default=[], help="folders with exported models")
    made.add_argument("--anomalib-python", type=Path, help="interpreter of anomalib's environment")
    made.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure and append the rows."""
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.anomalib and chosen.anomalib_python is None:
        made.error("--anomalib needs --anomalib-python")
    try:
        measure(chosen)
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
