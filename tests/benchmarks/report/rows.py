"""Rows as a benchmark would have recorded them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.report.rows import LatencyRow


def latency_document(
    rounds_ms: Sequence[float] = (10.0,) * 24, yardstick_ms: Sequence[float] | None = None, **changes: Any
) -> dict[str, Any]:
    yards = [3.0] * len(rounds_ms) if yardstick_ms is None else yardstick_ms
    middle = float(np.median(rounds_ms))
    figures = {
        **{"mean_ms": middle, "std_ms": 0.3, "min_ms": 0.8 * middle, "p50_ms": middle, "p90_ms": 1.1 * middle},
        **{"p95_ms": 1.2 * middle, "p99_ms": 1.5 * middle, "max_ms": 4 * middle, "runs": 1000, "fps": 1000 / middle},
    }
    document = {
        "kind": "latency",
        "session": "a",
        "recorded": "2026-01-02T03:04:05+00:00",
        "bundle": "bundle",
        "manifest_sha256": "0" * 64,
        "graph_sha256": "1" * 64,
        "method": "fader",
        "product": "plate",
        "engine": {
            **{"backend": "openvino", "precision": "int8", "device": "CPU", "version": "1"},
            **{"input_size_hw": [256, 256], "threads": 2, "source": "engines/x"},
        },
        "batch": 1,
        "frames": {"source": "photos", "count": 3, "sizes_hw": [[512, 512]]},
        "protocol": {
            **{"seconds": 10.0, "runs": 1000, "warm_up_ms": 200.0, "warm_up_runs": 10},
            **{"windows_ms": [10.0, 10.0, 10.0], "spread": 0.0, "stable": True, "quick": False},
        },
        "end_to_end": figures,
        "stages": {"capture": None, "prepare": {**figures, "p50_ms": 1.0}, "compute": {**figures, "p50_ms": 8.0}},
        "absent": {"capture": "frames are in memory"},
        "quantiles_ms": [float(value) for value in np.linspace(0.8 * middle, 4 * middle, 101)],
        "rounds": [{"p50_ms": value, "yardstick_ms": yard} for value, yard in zip(rounds_ms, yards, strict=True)],
        "machine": {"processor": "CPU <one>", "cores": 2, "yardstick": "numpy 1", "versions": {"openvino": "1"}},
    }
    return {**document, **changes}


def latency_row(*arguments: Any, **changes: Any) -> LatencyRow:
    return LatencyRow.model_validate(latency_document(*arguments, **changes))
