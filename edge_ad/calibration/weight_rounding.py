"""Weights of an INT8 backbone, rounded by error feedback, and the moments of what they are multiplied with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.error_feedback import round_by_feedback
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import LEVELS, weight_scales
from edge_ad.calibration.ranges import with_outputs

__all__ = ["round_with_moments", "second_moments"]

_DAMPING = 0.01  # of the mean second moment; the paper's


def round_with_moments(weight: NDArray[np.float32], moments: NDArray[np.float64]) -> NDArray[np.int8]:
    """Symmetric int8 per output, by error feedback.

    Args:
        weight: float32 (outputs, inputs, ...), with ones behind, as of a 1×1 convolution.
        moments: float64 (inputs, inputs) mean of the products of two inputs.

    Returns:
        int8 of the shape of the weight, in [-127, 127]; level 127 is the largest magnitude of an output's weights.
    """
    exact = weight.reshape(len(weight), -1) / weight_scales(weight, 0)[:, np.newaxis]
    levels = round_by_feedback(exact.astype(np.float64), moments, _to_levels, damping=_DAMPING)
    return levels.reshape(weight.shape).astype(np.int8)


def second_moments(
    model: ModelProto, clips: Mapping[str, float], frames: Iterable[NDArray[np.uint8]]
) -> dict[str, NDArray[np.float64]]:
    """How the channels of some tensors go together, once they are rounded to int8.

    Args:
        model: Float deploy graph or its backbone.
        clips: Tensors to look at, float (1, C, h, w) → magnitude that becomes level 127.
        frames: uint8 (1, H, W, 3) each, at least one.

    Returns:
        Tensor → float64 (C, C), the mean over frames and positions of the products of two channels.
    """
    if not clips:
        return {}
    session, feed = create_session(with_outputs(model, list(clips))), model.graph.input[0].name
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in clips}
    for frame in frames:
        for name, values in zip(clips, session.run(list(clips), {feed: frame}), strict=True):
            found[name].append(_moments(values[0], clips[name] / LEVELS))
    return {name: np.mean(products, axis=0) for name, products in found.items()}


def _moments(values: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    rounded = np.clip(np.rint(values.reshape(len(values), -1) / scale), -LEVELS, LEVELS)
    levels = np.asarray(rounded, np.float32)
    return np.asarray((levels @ levels.T) * (scale * scale / levels.shape[1]), np.float64)


def _to_levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(values), -LEVELS, LEVELS)
