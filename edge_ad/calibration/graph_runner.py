"""Run an ONNX graph that is still in memory: in ONNX Runtime, as a backend's engine, and as far as its backbone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.graph import cut_graph
from edge_ad.errors import require
from edge_ad.manifest import Precision, Threshold
from edge_ad.prediction import Prediction
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.openvino.api import openvino_core
from edge_ad.runtime.openvino.engine import check_float32, is_part, keep_float32
from edge_ad.runtime.openvino.sorting import sort_stably
from edge_ad.runtime.engine_source import EngineSource, backend_errors

__all__ = ["backbone_features", "bf16_features", "create_session", "graph_predictor", "open_graph", "run_graph"]

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


@contextmanager
def open_graph(
    model: ModelProto, backend: str, precision: Precision, threshold: Threshold, float32: Sequence[str] = ()
) -> Iterator[Engine]:
    """Open a deploy graph as the bundle's engine would be.

    Args:
        model: Deploy graph.
        backend: One that compiles graphs in memory.
        precision: What the graph is, for the engine's description.
        threshold: Any threshold; the scores do not depend on it.
        float32: Parts that an engine in bfloat16 computes in float32.
    """
    dims = model.graph.input[0].type.tensor_type.shape.dim
    with tempfile.TemporaryDirectory(prefix="edge-ad-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        source = EngineSource(
            onnx=path,
            precision=precision,
            input_size_hw=(dims[1].dim_value, dims[2].dim_value),
            threshold=threshold,
            directory=None,
            directory_version="",
            words="in memory",
            float32=float32,
        )
        with get_backend(backend).open(source) as engine:
            yield engine


def backbone_features(model: ModelProto, features: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a deploy graph as far as its backbone.

    Args:
        model: Deploy graph, in float or with Q/DQ.
        features: Name of the tensor with the features.
        images: uint8 (N, H, W, 3) BGR, N >= 1.

    Returns:
        float32 (N, C, h, w).
    """
    backbone = cut_graph(model, features)
    session = create_session(backbone)
    name = backbone.graph.input[0].name
    return np.concatenate([session.run([features], {name: images[i : i + 1]})[0] for i in range(len(images))])


_SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16"}


def bf16_features(
    model: ModelProto, features: str, images: NDArray[np.uint8], *, float32: Collection[str]
) -> NDArray[np.float32]:
    """Run a deploy graph as far as its backbone, in bfloat16 on OpenVINO.

    Args:
        model: Deploy graph, in float or with Q/DQ.
        features: Name of the tensor with the features.
        images: uint8 (N, H, W, 3) BGR, N >= 1.
        float32: Parts of the whole graph that stay in float32.

    Returns:
        float32 (N, C, h, w).

    Raises:
        DeviceError: OpenVINO does not compile it as asked.
    """
    backbone = cut_graph(model, features)
    parts = [part for part in float32 if any(is_part(node.name, part) for node in backbone.graph.node)]
    with backend_errors("OpenVINO", "run the backbone in bfloat16"):
        request = _compiled(backbone, images.shape[1:], parts).create_infer_request()
        return np.concatenate([request.infer([image[np.newaxis]])[0] for image in images], dtype=np.float32)


def _compiled(backbone: ModelProto, shape: tuple[int, ...], parts: Collection[str]) -> Any:
    core = openvino_core()
    model = keep_float32(core, sort_stably(core.read_model(backbone.SerializeToString())), parts)
    model.reshape([1, *shape])
    compiled = core.compile_model(model, "CPU", _SETTINGS)
    check_float32(compiled, parts)
    return compiled
