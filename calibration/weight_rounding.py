"""Round weights to int8 so that the error of one makes up for that of others, as far as their inputs go together.

GPTQ (Frantar et al. 2023, "Accurate post-training quantization for generative pre-trained transformers"), which rounds
one weight of each output after the other and lets those that are still to come take the error: the sum over the inputs
is what must be right, not the single weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

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
    order = np.argsort(-np.diag(moments), kind="stable")  # the inputs that matter most are rounded first
    exact = weight.reshape(len(weight), -1) / weight_scales(weight, 0)[:, np.newaxis]
    rest = exact[:, order].astype(np.float64)
    feedback = _feedback(moments[np.ix_(order, order)])
    levels = np.empty_like(rest)
    for index in range(rest.shape[1]):
        levels[:, index] = np.clip(np.rint(rest[:, index]), -LEVELS, LEVELS)
        error = (rest[:, index] - levels[:, index]) / feedback[index, index]
        rest[:, index:] -= np.outer(error, feedback[index, index:])
    restored = np.empty_like(levels)
    restored[:, order] = levels
    return restored.reshape(weight.shape).astype(np.int8)


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


def _feedback(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row i: what an error of input i costs, and how the inputs after it make up for it; upper triangular."""
    mean = float(np.trace(moments)) / len(moments)
    damped = moments + np.eye(len(moments)) * (_DAMPING * mean or 1.0)
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T, np.float64)
