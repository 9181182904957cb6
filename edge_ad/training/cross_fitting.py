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
from edge_ad.data.views import with_views
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
    features, step = _features_by_fold(detector, split), 1 + detector.views
    scores = _scores(detector, features[0][::step])
    for index in range(1, len(features)):
        others = torch.cat([part for number, part in enumerate(features) if number != index])
        own = features[index][::step]
        fold_detector = copy.deepcopy(detector)
        fold_detector.fit_features(others, own[: len(own) // 2])
        del others
        scores += _scores(fold_detector, own)
    return dict(zip((path for fold in split.folds for path in fold), scores, strict=True))


def _features_by_fold(detector: FeatureDetector, split: GoodSplit) -> list[Tensor]:
    """Features of each fold, each photo followed by its views; what was fitted on comes from the cache."""
    size_hw = detector.config.size_hw
    held_out, fit = (
        with_views(read_resized(part, size_hw, split.photos), detector.views, seed=detector.config.seed)
        for part in (split.folds[0], split.fit)
    )
    features = FeatureCache(detector.patch_features)(fit)
    sizes = [len(fold) * (1 + detector.views) for fold in split.folds[1:]]
    return [compute_features(detector.patch_features, held_out), *torch.split(features, sizes)]


@torch.inference_mode()
def _scores(detector: FeatureDetector, features: Tensor) -> list[float]:
    parts = torch.split(features, _BATCH)
    return [float(score) for part in parts for score in detector.eval().score_features(part).score]
