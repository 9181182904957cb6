"""The same work by what a user would pick instead, in turns in one run: ratios, not times.

    python -m benchmarks.suites.peers BUNDLE --run RUN --data FOLDER --out peers.jsonl

Engine: a frame of the input size through our engine, through plain OpenVINO and plain ONNX Runtime on the same graph
(no class of ours around them), and through OpenVINO's own ``benchmark_app``: the ceiling. End to end: from a decoded
frame to a verdict, by our engine and by eager FP32 torch. ``--anomalib FOLDER`` times
the ``<name>.xml`` files in it too: models that anomalib, in an environment of its own, has exported to OpenVINO.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.machine import machine_facts
from benchmarks.suites.record import append_row, now
from edge_ad.bundle import Bundle
from edge_ad.cli.frames import read_frames
from edge_ad.cli.latency import frame_judge
from edge_ad.cli.subject import open_run
from edge_ad.errors import EdgeAdError
from edge_ad.images import resize
from edge_ad.runtime import open_engine

OURS = "edge-ad"
_MEDIAN = re.compile(r"Median:\s*([\d.]+)\s*ms")

Way = Callable[[float], list[float]]
"""Seconds → latency of each run in about so many seconds, in milliseconds."""


def timed(run: Callable[[], object]) -> Way:
    """Time a callable in this process."""

    def measure(seconds: float) -> list[float]:
        run()
        run()
        times: list[float] = []
        ends = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < ends:
            started = time.perf_counter_ns()
            run()
            times.append((time.perf_counter_ns() - started) / 1e6)
        return times

    return measure


def benchmark_app(graph: Path, shape: str, precision: str, threads: int) -> Way:
    """OpenVINO's own benchmark on a graph, one synchronous request, in a process of its own.

    Args:
        graph: ONNX or XML file.
        shape: Such as ``[1,256,256,3]``.
        precision: ``f32`` or ``bf16``: what is float in the graph.
        threads: CPU threads.
    """
    # Its "latency" hint takes no number of threads; one stream on so many is what that hint would choose.
    command = [_script(), "-m", str(graph), "-shape", shape, "-api", "sync", "-hint", "none", "-nstreams", "1"]
    command += ["-nthreads", str(threads), "-infer_precision", f"CPU:{precision}"]

    def measure(seconds: float) -> list[float]:
        done = subprocess.run(
            [*command, "-t", str(max(1, round(seconds)))], capture_output=True, text=True, check=False
        )
        return [parse_benchmark_app(done.stdout)]

    return measure


def parse_benchmark_app(text: str) -> float:
    """The median that ``benchmark_app`` prints, in milliseconds.

    Raises:
        ValueError: It printed none; its last line is quoted.
    """
    found = _MEDIAN.search(text)
    if found is None:
        raise ValueError(f"benchmark_app gave no median: {text.strip().splitlines()[-1:]}")
    return float(found[1])


def _script() -> str:
    beside = Path(sys.executable).with_name("benchmark_app")
    return str(beside) if beside.is_file() else shutil.which("benchmark_app") or "benchmark_app"


def plain_openvino(graph: Path, frames: list[NDArray[np.uint8]], threads: int) -> Callable[[], object]:
    """OpenVINO as its first tutorial has it: read, fix the shape, compile, call."""
    import openvino

    core = openvino.Core()
    model = core.read_model(graph)
    model.reshape({0: list(frames[0].shape)})
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled, endless = core.compile_model(model, "CPU", settings), cycle(frames)
    return lambda: compiled(next(endless))


def plain_onnxruntime(graph: Path, frames: list[NDArray[np.uint8]], threads: int) -> Callable[[], object]:
    """ONNX Runtime as its first tutorial has it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    name, endless = session.get_inputs()[0].name, cycle(frames)
    return lambda: session.run(None, {name: next(endless)})


def in_turns(ways: Mapping[str, Way], rounds: int, seconds: float) -> dict[str, list[list[float]]]:
    """Times of each way in each round; who begins changes from round to round."""
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    names = list(ways)
    for index in range(rounds):
        first = index % len(names)
        for name in [*names[first:], *names[:first]]:
            found[name].append(ways[name](seconds))
    return found


def peers_row(scope: str, found: Mapping[str, list[list[float]]], notes: Mapping[str, str]) -> dict[str, Any]:
    """The row: each way's median over the reference's, in each round and over all."""
    ours = [median(block) for block in found[OURS]]
    sides = []
    for name, blocks in found.items():
        ratios = [median(block) / own for block, own in zip(blocks, ours, strict=True)]
        every = [value for block in blocks for value in block]
        sides.append(
            {
                "name": name,
                "p50_ms": median(every),
                "runs": len(every),
                "ratio": median(ratios),
                "ratio_per_round": ratios,
                "note": notes.get(name, ""),
            }
        )
    return {"kind": "peers", "recorded": now(), "scope": scope, "reference": OURS, "sides": sides}


def measure(chosen: Any) -> None:
    """Both scopes, a row each."""
    bundle = Bundle.open(chosen.bundle)
    facts = {"bundle": bundle.root.name, "product": bundle.manifest.product}
    machine = machine_facts("none", packages=("torch", "anomalib"))
    frames = read_frames(bundle, chosen.data)
    with open_engine(bundle, backend="openvino", precision=chosen.precision, threads=chosen.threads) as engine:
        size_hw, threads = engine.describe().input_size_hw, chosen.threads
        batches = [resize(image, size_hw)[np.newaxis] for image in frames.images]
        graph, shape = bundle.graph_path(chosen.precision), f"[1,{size_hw[0]},{size_hw[1]},3]"
        endless = cycle(batches)
        ways = {
            OURS: timed(lambda: engine.infer(next(endless))),
            "benchmark_app": benchmark_app(graph, shape, "f32", threads),
            "plain OpenVINO": timed(plain_openvino(graph, batches, threads)),
            "plain ONNX Runtime": timed(plain_onnxruntime(graph, batches, threads)),
        }
        ways |= _anomalib(chosen.anomalib, threads)
        found = in_turns(ways, chosen.rounds, chosen.seconds)
        notes = {"benchmark_app": "OpenVINO's own, on random frames: the ceiling"}
        missing = {} if chosen.anomalib else {"anomalib": "no exported models were given (--anomalib)"}
        row = peers_row(f"{bundle.manifest.method} {chosen.precision} engine alone", found, notes)
        append_row(chosen.out, {**row, **facts, "not_measured": missing, "machine": machine})
        if chosen.run is None:
            return
        rival = open_run(chosen.run, threads)
        value = engine.threshold.value
        ways = {
            OURS: timed(frame_judge(engine.infer, frames.endless(), size_hw, value)),
            "eager FP32 torch": timed(frame_judge(rival.predict, frames.endless(), rival.size_hw, value)),
        }
        row = peers_row(
            f"{bundle.manifest.method} {chosen.precision} end to end", in_turns(ways, chosen.rounds, chosen.seconds), {}
        )
        append_row(chosen.out, {**row, **facts, "machine": machine})


def _anomalib(folder: Path | None, threads: int) -> dict[str, Way]:
    if folder is None:
        return {}
    shape = "[1,3,256,256]"
    return {
        f"anomalib {path.stem}": benchmark_app(path, shape, "f32", threads) for path in sorted(folder.glob("*.xml"))
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", type=Path, help="run of the bundle, for eager torch")
    parser.add_argument("--data", type=Path, help="product whose photos are the frames")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each block")
    parser.add_argument("--anomalib", type=Path, help="folder with models that anomalib exported to OpenVINO")
    parser.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    try:
        measure(parser.parse_args(arguments))
    except EdgeAdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
