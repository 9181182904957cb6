"""Scores with their true labels, checked: what every ranking metric starts from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import EdgeAdError

__all__ = ["MetricError", "split_scores"]


class MetricError(EdgeAdError):
    """A metric is not defined for these labels and scores."""


def split_scores(labels: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check labels and scores and split the scores by label.

    Args:
        labels: bool, any shape; True is defective.
        scores: floating point, same shape; higher is more anomalous.

    Returns:
        The scores of the negatives and of the positives, flat and in C order, float32 or float64, copies.

    Raises:
        MetricError: Different shapes, NaN or infinite scores, or only one class.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    _check(labels, scores)
    if scores.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        # Every integer up to 2**53 and every half-precision value is exact in float64: no new ties.
        scores = scores.astype(np.float64)
    negatives, positives = scores[~labels], scores[labels]
    if not negatives.size or not positives.size:
        only = "defective" if positives.size else "good"
        raise MetricError(
            f"Ranking metrics need good and defective ground truth; all {labels.size} labels are {only}.",
            "Add test images of the other kind.",
        )
    return negatives, positives


def _check(labels: NDArray[Any], scores: NDArray[Any]) -> None:
    if labels.dtype != np.bool_:
        raise MetricError(f"Labels must be bool, not {labels.dtype}.")
    if labels.shape != scores.shape:
        raise MetricError(f"Labels and scores differ in shape: {labels.shape} and {scores.shape}.")
    if not labels.size:
        raise MetricError("There are no labels and no scores.")
    if not np.isfinite(scores).all():
        bad = int(scores.size - np.isfinite(scores).sum())
        raise MetricError(
            f"{bad} of {scores.size} scores are NaN or infinite.", "The detector is broken: train or export it again."
        )
