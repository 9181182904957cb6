"""Run an ONNX graph that is still in memory, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.errors import require
from edge_ad.prediction import Prediction

__all__ = ["create_session", "graph_predictor", "run_graph"]

_ERRORS_ONLY = 3


def create_session(model: ModelProto, *, threads: int = 0) -> Any:
    """An ONNX Runtime session on the CPU, exact in INT8 also where the processor has no VNNI.

    Args:
        model: The graph.
        threads: CPU threads; 0 leaves it to ONNX Runtime.
    """
    runtime = require("onnxruntime", extra="")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.x64quantprecision", "1")
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def graph_predictor(model: ModelProto) -> Callable[[NDArray[np.uint8]], list[Prediction]]:
    """A deploy graph as a function of uint8 (N, H, W, 3) BGR, opened once and run one image at a time."""
    session = create_session(model)

    def predict(images: NDArray[np.uint8]) -> list[Prediction]:
        found = (session.run(["score", "anomaly_map"], {"image": images[i : i + 1]}) for i in range(len(images)))
        return [Prediction(float(scores[0]), maps[0]) for scores, maps in found]

    return predict


def run_graph(model: ModelProto, images: NDArray[np.uint8]) -> list[Prediction]:
    """Predictions of a deploy graph for uint8 (N, H, W, 3) BGR, one image at a time."""
    return graph_predictor(model)(images)
