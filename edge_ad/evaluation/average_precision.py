"""Average precision, exact with ties: the sum over thresholds of precision times the gain in recall."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.labelled_scores import split_scores

__all__ = ["average_precision", "pixel_average_precision"]


def average_precision(labels: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    """Average precision ``Σ (Rₙ − Rₙ₋₁) Pₙ`` over the distinct scores, without interpolation.

    Args:
        labels: bool, any shape; True is defective.
        scores: Same shape; higher is more anomalous.

    Returns:
        A value in (0, 1]; a detector that guesses gets about the share of positives.

    Raises:
        MetricError: Different shapes, NaN or infinite scores, or only one class.
    """
    negatives, positives = split_scores(labels, scores)
    negatives.sort()
    positives.sort()
    # Recall grows only at scores of positives: precision is needed nowhere else.
    is_first_of_value = np.append(True, positives[1:] != positives[:-1])
    values = positives[is_first_of_value]
    true_positives = positives.size - np.flatnonzero(is_first_of_value)
    false_positives = negatives.size - np.searchsorted(negatives, values, side="left")
    gained = true_positives - np.append(true_positives[1:], 0)
    return float(np.sum(gained * (true_positives / (true_positives + false_positives))) / positives.size)


def pixel_average_precision(masks: NDArray[np.bool_], maps: NDArray[Any]) -> float:
    """Average precision of the pixels of all images together.

    Args:
        masks: bool (N, H, W); True is defective.
        maps: (N, H, W) anomaly maps.

    Returns:
        A value in (0, 1].

    Raises:
        MetricError: Different shapes, NaN or infinite values, or only one class of pixel.
    """
    return average_precision(masks, maps)
