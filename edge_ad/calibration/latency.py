"""Latencies timed in turns, so that the noise of a machine hits all alike, and what layers in float cost in them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from edge_ad.calibration.gate import describe_engine
from edge_ad.calibration.graph_runner import open_graph
from edge_ad.calibration.quantiser import Quantiser
from edge_ad.calibration.sensitivity import MixedPrecision
from edge_ad.manifest import Threshold
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.target import available_cores

__all__ = ["Medians", "interleaved_medians", "measure_costs"]

_NS_PER_MS = 1e6
_WARM_UP = 2
_ERROR_PER_QUARTILE_DISTANCE = math.sqrt(math.pi / 2) / 1.349  # of normally distributed values


@dataclass(frozen=True)
class Medians:
    """A latency.

    Attributes:
        median_ms: Median over all runs, in milliseconds.
        error_ms: Standard error of the median, in milliseconds, from the distance between the quartiles.
        runs: Number of timed runs.
    """

    median_ms: float
    error_ms: float
    runs: int


def interleaved_medians(
    callables: Mapping[str, Callable[[], object]], *, rounds: int = 8, runs: int = 3
) -> dict[str, Medians]:
    """Time callables in turns.

    Each round runs every one of them, one untimed run first, which wakes its threads and caches; every other round goes
    backwards, so that none always follows the same neighbour.

    Args:
        callables: Name → what to time; at least one.
        rounds: Number of rounds, >= 1.
        runs: Timed runs of each in a round, >= 1.
    """
    durations: dict[str, list[int]] = {name: [] for name in callables}
    for run in callables.values():
        _timed(run, _WARM_UP)
    for index in range(rounds):
        names = list(callables)
        for name in names if index % 2 == 0 else reversed(names):
            durations[name] += _timed(callables[name], runs + 1)[1:]
    return {name: _summary(found) for name, found in durations.items()}


def _timed(run: Callable[[], object], count: int) -> list[int]:
    marks = [time.perf_counter_ns()]
    for _ in range(count):
        run()
        marks.append(time.perf_counter_ns())
    return [int(duration) for duration in np.diff(marks)]


def _summary(durations_ns: list[int]) -> Medians:
    low, median, high = np.percentile(np.asarray(durations_ns) / _NS_PER_MS, [25, 50, 75])
    error = _ERROR_PER_QUARTILE_DISTANCE * (high - low) / math.sqrt(len(durations_ns))
    return Medians(float(median), float(error), len(durations_ns))


_MOST_LAYERS = 12  # each is an engine of its own, open beside the others


def measure_costs(
    found: MixedPrecision, quantiser: Quantiser, model: ModelProto, backend: str, threshold: Threshold
) -> dict[str, Any]:
    """Time the graph as it is beside the same graph with one of the returned layers in INT8, for each of them.

    Nothing is fitted anew for it: values do not change what a layer costs.

    Args:
        found: The graph that passed, with returned layers.
        quantiser: Of the float graph.
        model: The float graph.
        backend: ``"openvino"`` or ``"onnxruntime"``.
        threshold: Any threshold.

    Returns:
        ``machine`` in words; ``fp32``, ``int8`` (as it is) and ``all_int8``, a median each; and ``layers``: returned
        layer → its cost in milliseconds, the standard error of that difference, and the median with it in INT8. The 12
        most sensitive ones are timed on their own.
    """
    timed = found.returned[:_MOST_LAYERS]
    graphs = {
        "fp32": model,
        "int8": quantiser.quantise(found.layers),
        "all_int8": quantiser.quantise([*found.layers, *found.returned]),
        **{f"layer:{layer}": quantiser.quantise([*found.layers, layer]) for layer in timed},
    }
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_graph(graph, backend, "fp32" if name == "fp32" else "int8", threshold))
            for name, graph in graphs.items()
        }
        medians = interleaved_medians({name: _call(engine) for name, engine in engines.items()})
        words = f"{describe_engine(engines['int8'].describe())}, {available_cores()} cores, one image at a time"
    return {
        "machine": words,
        **{name: asdict(medians[name]) for name in ("fp32", "int8", "all_int8")},
        "layers": {layer: _cost(medians["int8"], medians[f"layer:{layer}"]) for layer in timed},
    }


def _cost(kept: Medians, quantised: Medians) -> dict[str, float]:
    return {
        "cost_ms": kept.median_ms - quantised.median_ms,
        "error_ms": float(np.hypot(kept.error_ms, quantised.error_ms)),
        "int8_median_ms": quantised.median_ms,
    }


def _call(engine: Engine) -> Callable[[], object]:
    frame = np.zeros((1, *engine.describe().input_size_hw, 3), np.uint8)
    return lambda: engine.infer(frame)
