"""Which of a bundle's engines is the fastest here: timed in turns, so that the noise of a machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from edge_ad.bundle import Bundle, EngineDirectory, record_latency
from edge_ad.manifest import Precision
from edge_ad.runtime.engines import open_engine

__all__ = ["median_latencies", "record_latencies"]

_ROUNDS = 10
_RUNS = 5


def median_latencies(bundle: Bundle, backend: str, precisions: Sequence[Precision]) -> dict[Precision, float]:
    """Median latency of one frame per precision, in milliseconds, on the bundle's own reference photos.

    Args:
        bundle: The bundle, with an engine of each precision for this machine.
        backend: Name of the backend.
        precisions: What to time.
    """
    frames = bundle.reference().images
    times: dict[Precision, list[float]] = {name: [] for name in precisions}
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_engine(bundle, backend=backend, precision=name)) for name in precisions
        }
        for engine in engines.values():
            engine.warm_up()
        for _ in range(_ROUNDS):
            for name, engine in engines.items():
                for run in range(-1, _RUNS):  # the first wakes this engine's threads and is not counted
                    frame = frames[run % len(frames)][np.newaxis]
                    began = time.perf_counter()
                    engine.infer(frame)
                    if run >= 0:
                        times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(part)) for name, part in times.items()}


def record_latencies(
    bundle: Bundle, backend: str, engines: dict[Precision, EngineDirectory]
) -> dict[Precision, EngineDirectory]:
    """Time engines in turns and write each one's latency beside it, where ``--precision auto`` looks for it."""
    latencies = median_latencies(bundle, backend, list(engines))
    return {name: record_latency(engine, latencies[name]) for name, engine in engines.items()}
