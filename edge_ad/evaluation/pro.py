"""Per-region overlap (PRO): localisation in which every defect region counts the same, however small.

At a threshold, PRO is the mean over all ground-truth regions of the share of the region's pixels above it. It is
integrated over the false positive rate up to a limit (Bergmann et al., MVTec AD, IJCV 2021). Since a pixel of region
r adds ``1 / (R |r|)``, the curve is a ROC curve with weighted positives and is computed exactly, at every threshold.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.labelled_scores import MetricError, split_scores
from edge_ad.evaluation.roc import area_under, roc_curve

__all__ = ["pro"]


def pro(masks: NDArray[np.bool_], maps: NDArray[Any], max_fpr: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false positive rate, normalised.

    Args:
        masks: bool (N, H, W); regions are 8-connected, within an image. An empty mask has only negative pixels.
        maps: (N, H, W) anomaly maps.
        max_fpr: False positive rate, over the negative pixels of all images, to integrate to, in (0, 1].

    Returns:
        A value in [0, 1]: the area divided by ``max_fpr``.

    Raises:
        MetricError: Different shapes, not three axes, NaN or infinite values, only one class of pixel, bad limit.
    """
    if np.ndim(masks) != 3:
        raise MetricError(f"Masks must have shape (N, H, W), not {np.shape(masks)}.")
    negatives, positives = split_scores(masks, maps)
    return area_under(roc_curve(negatives, positives, _region_weights(masks)), max_fpr)


def _region_weights(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weight ``1 / |region|`` of each positive pixel, (P,), in the C order of ``masks``."""
    return np.concatenate([_image_region_weights(mask) for mask in masks])


def _image_region_weights(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not mask.any():
        return np.empty(0, np.float64)
    _, regions = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
    region_of_pixel = np.asarray(regions, np.int32)[mask]
    return np.asarray(1.0 / np.bincount(region_of_pixel)[region_of_pixel], np.float64)
