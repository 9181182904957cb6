"""What the layers that went back to float cost in latency, measured on the backend's own engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np
from onnx import ModelProto

from edge_ad.calibration.engines import open_graph
from edge_ad.calibration.latency import Medians, interleaved_medians
from edge_ad.calibration.quantiser import Quantiser
from edge_ad.calibration.search import MixedPrecision
from edge_ad.export.gated_graph import describe_engine
from edge_ad.manifest import Threshold
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.target import available_cores

__all__ = ["measure_costs"]

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
