"""Score every good photo by a detector that has not seen it: one per fold, fitted on the other folds.

The detector that is deployed is fitted on all photos, as each adds to what it knows of good parts (Barber et al. 2021
set their threshold likewise). A new part scores no higher by it than by one that has seen fewer, so the threshold is on
the safe side of the false-alarm rate.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from edge_ad.data.splits import GoodSplit
from edge_ad.data.views import with_views
from edge_ad.images import read_resized
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.training.feature_cache import FeatureCache, compute_features
from edge_ad.training.precision import on_device
from edge_ad.training.preparation import fitted_views
from edge_ad.training.runs import torch_predictor

__all__ = ["LIGHTS_OF_ONE", "CrossFittedScores", "cross_fitted_scores", "is_cross_fitted", "without_first_fold"]

LIGHTS_OF_ONE = 16
"""Views of the only photo that its threshold is set from."""
_BATCH = 8
_CPU = torch.device("cpu")


def is_cross_fitted(detector: AnomalyDetector) -> bool:
    """Whether each good photo can be scored by a detector that has not seen it.

    It can where the detector is fitted in seconds on features of a frozen backbone: once for each fold. It can, too,
    where it learns nothing from photos.
    """
    if _learns_nothing(detector):
        return True
    return isinstance(detector, FeatureDetector) and not detector.trains_backbone and not detector.stages()


def _learns_nothing(detector: AnomalyDetector) -> bool:
    return detector.backbone is None and not detector.stages()


class CrossFittedScores(NamedTuple):
    """Scores of good photos, in float32 torch.

    Attributes:
        left_out: Each photo → its score by a detector that was fitted on the other folds; empty without folds.
        fitted: Each photo of the first fold → its score by the deployed detector; empty where that has not seen it.
    """

    left_out: dict[Path, float]
    fitted: dict[Path, float]


def cross_fitted_scores(detector: AnomalyDetector, split: GoodSplit, device: torch.device = _CPU) -> CrossFittedScores:
    """Score all good photos.

    Args:
        detector: Fitted on ``split.fit``, on the CPU; it is left as it is.
        split: Its split.
        device: Where the backbone computes.

    Raises:
        DataError: A photo cannot be read.
    """
    if split.folds and _learns_nothing(detector):
        return _of_any_photo(detector, split)
    if not split.folds or not isinstance(detector, FeatureDetector):
        return CrossFittedScores({}, {})
    if len(split.folds) == 1:
        return _of_the_only_photo(detector, split)
    features, step = _features_by_fold(detector, split, device), 1 + detector.views + detector.rotations
    scores: list[float] = []
    for index, part in enumerate(features):
        scores += _scores(_fitted_without(index, detector, features), part[::step])
    fitted = _scores(detector, features[0][::step]) if split.is_fitted_on_all else []
    paths = [path for fold in split.folds for path in fold]
    return CrossFittedScores(dict(zip(paths, scores, strict=True)), dict(zip(split.folds[0], fitted, strict=False)))


def without_first_fold(detector: AnomalyDetector, split: GoodSplit) -> AnomalyDetector:
    """A detector that has not seen the first fold: a copy that is fitted on the others, or the detector itself.

    Raises:
        DataError: A photo cannot be read.
    """
    if not split.is_fitted_on_all or len(split.folds) == 1 or not isinstance(detector, FeatureDetector):
        return detector
    return _fitted_without(0, detector, _features_by_fold(detector, split))


def _of_any_photo(detector: AnomalyDetector, split: GoodSplit) -> CrossFittedScores:
    """No photo need be left out: all are new to the detector."""
    paths = [path for fold in split.folds for path in fold]
    images, predict = read_resized(paths, detector.config.size_hw, split.photos), torch_predictor(detector)
    scores = {path: predict(image[None])[0].score for path, image in zip(paths, images, strict=True)}
    return CrossFittedScores(scores, {path: scores[path] for path in split.folds[0]} if split.is_fitted_on_all else {})


def _of_the_only_photo(detector: FeatureDetector, split: GoodSplit) -> CrossFittedScores:
    """No photo can be left out: the middle score of the only one in other lights, which stands for other parts."""
    (paths,), size_hw = split.folds, detector.config.size_hw
    photo = read_resized(paths[:1], size_hw, split.photos)
    views = with_views(photo, LIGHTS_OF_ONE, seed=detector.config.seed)
    scores = _scores(detector, compute_features(detector.patch_features, views))
    return CrossFittedScores(dict.fromkeys(paths, statistics.median(scores[1:])), dict.fromkeys(paths, scores[0]))


def _fitted_without(index: int, detector: FeatureDetector, features: Sequence[Tensor]) -> FeatureDetector:
    others = torch.cat([part for number, part in enumerate(features) if number != index])
    own, fitted = features[index][:: 1 + detector.views + detector.rotations], copy.deepcopy(detector)
    fitted.fit_features(others, own[: len(own) // 2])
    return fitted


def _features_by_fold(detector: FeatureDetector, split: GoodSplit, device: torch.device = _CPU) -> list[Tensor]:
    """Features of each fold, each photo followed by its views; what was fitted on comes from the cache."""
    size_hw, step = detector.config.size_hw, 1 + detector.views + detector.rotations
    fit = fitted_views(detector, read_resized(split.fit, size_hw, split.photos))
    with on_device(detector.patch_features, device):
        features = FeatureCache(detector.patch_features, device)(fit)
    sizes = [len(fold) * step for fold in split.folds[1:]]
    others = list(torch.split(features[: sum(sizes)], sizes))
    if split.is_fitted_on_all:
        return [features[sum(sizes) :], *others]
    held_out = fitted_views(detector, read_resized(split.folds[0], size_hw, split.photos))
    return [compute_features(detector.patch_features, held_out), *others]


@torch.inference_mode()
def _scores(detector: FeatureDetector, features: Tensor) -> list[float]:
    parts = torch.split(features, _BATCH)
    return [float(score) for part in parts for score in detector.eval().score_features(part).score]
