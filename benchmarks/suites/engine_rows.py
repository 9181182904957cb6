"""A measured engine as a row: latency of every stage, throughput, memory, cold start, energy, accuracy."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.power.meter import measure_energy
from benchmarks.suites.record import now
from benchmarks.suites.session import Candidate
from benchmarks.suites.stability import Settings, is_stable
from benchmarks.suites.stages import STAGES
from edge_ad.bundle import Bundle
from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.evaluation.latency import pipelined_fps
from edge_ad.images import resize
from edge_ad.runtime import Engine
from edge_ad.runtime.timing import LatencyStats, measure
from edge_ad.storage import sha256_file

__all__ = ["energy_of", "engine_row", "throughput_of"]

_QUANTILES = np.linspace(0, 1, 101)
_NO_COPIES = "CPU: nothing is copied to a device"
_NO_FILES = "frames are in memory: reference photos of the bundle"


def engine_row(
    bundle: Bundle, engine: Engine, candidate: Candidate, settings: Settings, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of an engine.

    Args:
        bundle: Where it was opened from.
        engine: The engine, still open.
        candidate: What was measured.
        settings: How.
        facts: ``session``, ``batch``, ``frames``, ``machine`` and whatever else goes into the row as it is.
    """
    description, log = engine.describe(), candidate.path.log
    totals = log.totals_ns()
    stages, absent = _stages(engine, candidate)
    return {
        "kind": "latency",
        "schema_version": 1,
        "recorded": now(),
        "bundle": bundle.root.name,
        "manifest_sha256": sha256_file(bundle.root / MANIFEST_FILE),
        "graph_sha256": bundle.graph_sha256(description.precision),  # type: ignore[arg-type]
        "method": bundle.manifest.method,
        "product": bundle.manifest.product,
        "engine": dataclasses.asdict(description),
        "protocol": _protocol(candidate, settings),
        "end_to_end": LatencyStats.of(totals, sum(totals)).to_dict(),
        "stages": stages,
        "absent": absent,
        "quantiles_ms": [float(value) / 1e6 for value in np.quantile(totals, _QUANTILES)],
        "rounds": [item._asdict() for item in candidate.rounds],
        **facts,
    }


def _protocol(candidate: Candidate, settings: Settings) -> dict[str, Any]:
    return {
        "seconds": candidate.measured_s,
        "runs": candidate.runs,
        "warm_up_ms": settings.warm_up_s * 1000,
        "warm_up_runs": settings.warm_up_runs,
        "windows_ms": candidate.windows_ms,
        "spread": candidate.spread,
        "stable": is_stable(candidate.windows_ms),
        "quick": settings.quick,
    }


def _stages(engine: Engine, candidate: Candidate) -> tuple[dict[str, Any], dict[str, str]]:
    stages: dict[str, Any] = dict.fromkeys(STAGES)
    absent: dict[str, str] = {}
    for stage in ("capture", "decode", "prepare", "compute", "finish"):
        durations = candidate.path.log.durations_ns(stage)
        if stage in ("capture", "decode") and not candidate.path.has_files:
            absent[stage] = _NO_FILES
            continue
        stages[stage] = LatencyStats.of(durations, max(sum(durations), 1)).to_dict()
    on_device = engine.timings()
    if on_device is None:
        absent |= {"h2d": _NO_COPIES, "d2h": _NO_COPIES}
        return stages, absent
    # The GPU's own events give medians only; the engine's call around them stays under `call`.
    stages["call"] = stages["compute"]
    for stage, value in (("h2d", on_device.h2d_ms), ("compute", on_device.compute_ms), ("d2h", on_device.d2h_ms)):
        stages[stage] = _median_only(value, on_device.runs)
    return stages, absent


def _median_only(median_ms: float, runs: int) -> dict[str, float]:
    spread = dict.fromkeys(("mean_ms", "min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"), median_ms)
    return {**spread, "std_ms": 0.0, "runs": runs, "fps": 1000 / median_ms}


def throughput_of(engine: Engine, images: Sequence[NDArray[np.uint8]], seconds: float) -> dict[str, float]:
    """Frames per second one by one and with several in flight, on frames of the input size.

    Args:
        engine: Open engine.
        images: uint8 (H, W, 3) BGR each.
        seconds: For each of the two.
    """
    size_hw = engine.describe().input_size_hw
    batches = [resize(image, size_hw)[np.newaxis] for image in images]
    turns = cycle(batches)
    one_by_one = measure(lambda: engine.infer(next(turns)), min_seconds=seconds, min_runs=10)
    return {"in_flight_fps": pipelined_fps(engine, turns, seconds), "one_by_one_fps": one_by_one.fps}


def energy_of(candidate: Candidate, batch: int, seconds: float) -> tuple[dict[str, Any] | None, str]:
    """Energy per frame while nothing but this candidate is run; its clocks are not kept.

    Args:
        candidate: What to run.
        batch: Frames of each run.
        seconds: For so long.
    """

    def run() -> int:
        ends, frames = time.perf_counter() + seconds, 0
        kept = len(candidate.path.log.marks)
        while time.perf_counter() < ends:
            candidate.path.run()
            frames += batch
        del candidate.path.log.marks[kept:]
        return frames

    return measure_energy(run)
