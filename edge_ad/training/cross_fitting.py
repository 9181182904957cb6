"""Score every good photo by a detector that has not seen it: one per fold, fitted on the other folds.

The detector that is deployed is the one of the first fold. Each of the others is fitted on about as many photos, so
that no score is of a better or a worse detector than the deployed one.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from edge_ad.data.splits import GoodSplit
from edge_ad.images import read_resized
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.training.feature_cache import FeatureCache, compute_features

__all__ = ["is_cross_fitted", "out_of_fold_scores"]

_BATCH = 8


def is_cross_fitted(detector: AnomalyDetector) -> bool:
    """Whether the detector is fitted in seconds on features of a frozen backbone: it can be, once for each fold."""
    return isinstance(detector, FeatureDetector) and not detector.trains_backbone and not detector.stages()


def out_of_fold_scores(detector: AnomalyDetector, split: GoodSplit) -> dict[Path, float]:
    """Scores of all good photos, in float32 torch.

    Args:
        detector: Fitted on ``split.fit``, on the CPU; it is left as it is.
        split: With folds, the first of which the detector has not seen.

    Returns:
        Photo → score; empty where the split has no folds.

    Raises:
        DataError: A photo cannot be read.
    """
    if not split.folds or not isinstance(detector, FeatureDetector):
        return {}
    features = _features_by_fold(detector, split)
    scores = _scores(detector, features[0])
    for index in range(1, len(features)):
        others = torch.cat([part for number, part in enumerate(features) if number != index])
        fold_detector = copy.deepcopy(detector)
        fold_detector.fit_features(others, features[index][: len(features[index]) // 2])
        del others
        scores += _scores(fold_detector, features[index])
    return dict(zip((path for fold in split.folds for path in fold), scores, strict=True))


def _features_by_fold(detector: FeatureDetector, split: GoodSplit) -> list[Tensor]:
    """Features of each fold, those of the photos that were fitted on as the fit has left them in the cache."""
    size_hw = (detector.config.size, detector.config.size)
    fit, calibrate, threshold = (
        read_resized(part, size_hw, split.photos) for part in (split.fit, split.calibrate, split.threshold)
    )
    backbone = detector.patch_features
    cached = FeatureCache(backbone)
    held_out = torch.cat([cached(calibrate), compute_features(backbone, threshold)])
    return [held_out, *torch.split(cached(fit), [len(fold) for fold in split.folds[1:]])]


@torch.inference_mode()
def _scores(detector: FeatureDetector, features: Tensor) -> list[float]:
    parts = torch.split(features, _BATCH)
    return [float(score) for part in parts for score in detector.eval().score_features(part).score]
