"""The receiver operating characteristic and the area under it, exact with ties.

Only scores of positives bend the curve, so only the negatives and the positives are sorted, each on their own:
no index array of all pixels is ever made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.labelled_scores import MetricError, split_scores

__all__ = ["RocCurve", "area_under", "image_auroc", "pixel_auroc", "roc_curve"]


class RocCurve(NamedTuple):
    """Vertices of a ROC curve from (0, 0) to (1, 1); straight lines join them.

    Attributes:
        fpr: False positive rate, float64 (V,), in [0, 1], not decreasing.
        tpr: True positive rate, or weight of the positives found, float64 (V,), in [0, 1], not decreasing.
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]


def roc_curve(negatives: NDArray[Any], positives: NDArray[Any], weights: NDArray[np.float64] | None = None) -> RocCurve:
    """Build the curve over every threshold.

    Args:
        negatives: (A,) scores of the negatives; sorted in place.
        positives: (B,) scores of the positives, same dtype.
        weights: (B,) weight of each positive, > 0; equal weights when None.

    Returns:
        At most 2 B + 2 vertices; a value shared by positives and negatives is one sloped segment.
    """
    negatives.sort()
    values, found = _weight_found(positives, weights)
    count = negatives.size
    above = count - np.searchsorted(negatives, values, side="right")
    at_or_above = count - np.searchsorted(negatives, values, side="left")
    # Each distinct positive value makes two vertices: where its segment starts and where it ends.
    fpr = np.stack([above, at_or_above], axis=1).ravel() / count
    tpr = np.stack([np.concatenate([[0.0], found[:-1]]), found], axis=1).ravel()
    return RocCurve(np.concatenate([[0.0], fpr, [1.0]]), np.concatenate([[0.0], tpr, [1.0]]))


def area_under(curve: RocCurve, max_fpr: float = 1.0) -> float:
    """Integrate the curve from a false positive rate of 0 to ``max_fpr`` by the trapezoid rule.

    Args:
        curve: The curve.
        max_fpr: Upper end, in (0, 1].

    Returns:
        The area divided by ``max_fpr``, in [0, 1].

    Raises:
        MetricError: ``max_fpr`` is outside (0, 1].
    """
    if not 0.0 < max_fpr <= 1.0:
        raise MetricError(f"The false positive rate to integrate to must be in (0, 1], not {max_fpr}.")
    end = int(np.searchsorted(curve.fpr, max_fpr, side="left"))
    left, right = curve.fpr[end - 1], curve.fpr[end]
    height = curve.tpr[end - 1] + (curve.tpr[end] - curve.tpr[end - 1]) * (max_fpr - left) / (right - left)
    fpr = np.append(curve.fpr[:end], max_fpr)
    tpr = np.append(curve.tpr[:end], height)
    return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2.0 / max_fpr)


def image_auroc(labels: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    """Area under the ROC curve of image scores.

    Args:
        labels: bool (N,); True is defective.
        scores: (N,); higher is more anomalous.

    Returns:
        Probability in [0, 1] that a defective image scores above a good one, ties counted half.

    Raises:
        MetricError: Different shapes, NaN or infinite scores, or only one class.
    """
    return area_under(roc_curve(*split_scores(labels, scores)))


def pixel_auroc(masks: NDArray[np.bool_], maps: NDArray[Any]) -> float:
    """Area under the ROC curve of the pixels of all images together.

    Args:
        masks: bool (N, H, W); True is defective.
        maps: (N, H, W) anomaly maps.

    Returns:
        Probability in [0, 1] that a defective pixel scores above a good one, ties counted half.

    Raises:
        MetricError: Different shapes, NaN or infinite values, or only one class of pixel.
    """
    return image_auroc(masks, maps)


def _weight_found(
    positives: NDArray[Any], weights: NDArray[np.float64] | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Distinct positive scores, descending, and the share of the weight at or above each, ending in exactly 1."""
    order = np.argsort(positives)[::-1]
    values = positives[order]
    weight = np.arange(1, values.size + 1, dtype=np.float64) if weights is None else np.cumsum(weights[order])
    is_last_of_value = np.append(values[1:] != values[:-1], True)
    found = weight[is_last_of_value]
    return values[is_last_of_value], found / found[-1]
