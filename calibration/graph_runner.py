"""Run an ONNX graph that is still in memory, in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.errors import require
from edge_ad.prediction import Prediction

__all__ = ["create_session", "run_graph"]

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


def run_graph(model: ModelProto, images: NDArray[np.uint8]) -> list[Prediction]:
    """Predictions of a deploy graph for uint8 (N, H, W, 3) BGR, one image at a time."""
    session = create_session(model)
    predictions = []
    for index in range(len(images)):
        scores, maps = session.run(["score", "anomaly_map"], {"image": images[index : index + 1]})
        predictions.append(Prediction(float(scores[0]), maps[0]))
    return predictions
