"""How far an engine's numbers are from the trained network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.prediction import Prediction

__all__ = ["ONNX_TOLERANCE", "OPENVINO_TOLERANCE", "Deviation", "compare", "tolerance_of"]

ONNX_TOLERANCE = 1e-4
OPENVINO_TOLERANCE = 1e-3
"""OpenVINO may fuse and reorder sums."""


@dataclass(frozen=True)
class Deviation:
    """Differences between predictions and their reference, as shares of the reference's scale.

    The scale is the largest magnitude in the reference maps, but at least 1: maps of reconstruction methods lie in
    [0, 1] and are compared absolutely, Mahalanobis distances reach hundreds and are compared relatively.

    Attributes:
        score: Largest difference of a score.
        map: Largest difference of a pixel.
        map_typical: 99.9th percentile of the differences of pixels. A patch whose distance lies within float error of a
            binary mask's limit may flip; then ``map`` is large and this is not.
        outliers: Images with a pixel further away than ``tolerance``.
        images: Images compared.
        tolerance: What they were held against.
    """

    score: float
    map: float
    map_typical: float
    outliers: int
    images: int
    tolerance: float

    @property
    def is_within(self) -> bool:
        """Whether every score and every pixel is within the tolerance."""
        return max(self.score, self.map) <= self.tolerance  # False for NaN


def compare(predictions: Sequence[Prediction], reference: Sequence[Prediction], tolerance: float) -> Deviation:
    """Compare predictions on the same images.

    Args:
        predictions: What an engine said, N >= 1.
        reference: What the trained network said, N.
        tolerance: Largest difference that is allowed.
    """
    scores, maps = _arrays(predictions)
    reference_scores, reference_maps = _arrays(reference)
    scale = max(1.0, float(np.abs(reference_maps).max()))
    differences = np.abs(maps - reference_maps) / scale
    per_image = differences.max(axis=(1, 2))
    return Deviation(
        score=float(np.abs(scores - reference_scores).max()) / scale,
        map=float(per_image.max()),
        map_typical=float(np.quantile(differences, 0.999)),
        outliers=int(np.count_nonzero(~(per_image <= tolerance))),
        images=len(per_image),
        tolerance=tolerance,
    )


def tolerance_of(backend: str) -> float:
    """Tolerance of an FP32 engine."""
    return ONNX_TOLERANCE if backend == "onnxruntime" else OPENVINO_TOLERANCE


def _arrays(predictions: Sequence[Prediction]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    scores = np.array([prediction.score for prediction in predictions], np.float64)
    return scores, np.stack([prediction.anomaly_map for prediction in predictions])
