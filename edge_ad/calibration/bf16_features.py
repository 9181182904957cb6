"""The features of a backbone in bfloat16, for what is fitted on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.subgraph import cut_graph
from edge_ad.runtime.openvino.api import openvino_core
from edge_ad.runtime.openvino.engine import check_float32, is_part, keep_float32
from edge_ad.runtime.source import backend_errors

__all__ = ["bf16_features"]

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
    model = keep_float32(core, core.read_model(backbone.SerializeToString()), parts)
    model.reshape([1, *shape])
    compiled = core.compile_model(model, "CPU", _SETTINGS)
    check_float32(compiled, parts)
    return compiled
