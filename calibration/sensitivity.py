"""How much each group of layers disturbs the anomaly map when it alone is INT8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import LayerGroup
from edge_ad.calibration.qdq import insert_qdq

__all__ = ["noise_by_group"]


def noise_by_group(
    model: ModelProto, groups: Sequence[LayerGroup], clips: Mapping[str, float], images: NDArray[np.uint8]
) -> dict[str, float]:
    """Noise over signal of the anomaly map per group; the SQNR is ``-10 log10`` of it.

    Args:
        model: Float deploy graph.
        groups: Groups to try one by one.
        clips: Ranges of their inputs.
        images: uint8 (N, H, W, 3).

    Returns:
        Group name → squared error over the variance of the float maps, the noisiest first.
    """
    float_maps = _maps(model, images)
    signal = max(float(float_maps.var(dtype=np.float64)), 1e-12)
    noise = {}
    for group in groups:
        maps = _maps(insert_qdq(model, group.layers, clips), images)
        noise[group.name] = float(np.square(maps - float_maps).mean(dtype=np.float64)) / signal
    return dict(sorted(noise.items(), key=lambda item: -item[1]))


def _maps(model: ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([prediction.anomaly_map for prediction in run_graph(model, images)])
