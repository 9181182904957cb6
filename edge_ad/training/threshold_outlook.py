"""What a run's threshold will mean in use: what it promises, what it finds, and what more photos would change.

No test image is seen: false alarms are promised from good photos, recall is that on pseudo-defects painted on photos
that the detector was not fitted on: where it was fitted on all, a copy of it is fitted without the first block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.evaluation.cross_fitted_threshold import effective_count, expected_rate_bound, stated_rate
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.evaluation.thresholds import conformal_rank, rate_upper_bound
from edge_ad.images import read_resized
from edge_ad.manifest import Threshold
from edge_ad.models.base import AnomalyDetector
from edge_ad.training.cross_fitting import without_first_fold
from edge_ad.training.runs import Run, good_scores, torch_predictor

__all__ = ["MorePhotos", "RateOutlook", "ThresholdOutlook", "bound_with", "threshold_outlook"]

_RATES = (0.01, 0.02, 0.05)
_MORE = (10, 50, 200)
_PICTURES = 32
_BATCH = 8


@dataclass(frozen=True)
class RateOutlook:
    """A threshold for a false-alarm rate.

    Attributes:
        false_alarm_rate: The rate that is asked for.
        stated: The expected rate that is stated, at most 1.
        bound: Upper bound of the true rate, with 95 % confidence.
        recall: Share of pseudo-defects whose score is above it.
    """

    false_alarm_rate: float
    stated: float
    bound: float
    recall: float


@dataclass(frozen=True)
class MorePhotos:
    """What further good photos like these would bring.

    Attributes:
        photos: How many more.
        stated: The expected rate that could be stated at the asked rate.
        bound: Upper bound of the true rate, with 95 % confidence.
    """

    photos: int
    stated: float
    bound: float


@dataclass(frozen=True)
class ThresholdOutlook:
    """The whole of it.

    Attributes:
        threshold: That of the run, in torch and float32.
        effective: How many single photos the scores carry as much as.
        rates: The asked rate, and the usual ones; none where the photos were trained on, which promises nothing.
        more: Further photos; likewise.
        duplicates: Photos that show the same thing, group by group.
    """

    threshold: Threshold
    effective: float
    rates: tuple[RateOutlook, ...]
    more: tuple[MorePhotos, ...]
    duplicates: tuple[tuple[Path, ...], ...]


def threshold_outlook(run: Run) -> ThresholdOutlook:
    """Say what the threshold of a finished run will mean.

    Raises:
        DataError: A photo cannot be read any more.
    """
    size_hw = run.detector.config.size_hw
    split, rule = run.split, good_scores(run)
    held_out = (*split.calibrate, *split.threshold) if split.folds else split.threshold
    images = read_resized(held_out, size_hw, split.photos)
    own = _scores(run.detector, images)
    judge = without_first_fold(run.detector, split)
    found = _scores(judge, _painted(images, run.detector.config.seed))
    threshold = rule.threshold(own)
    carried = float(threshold.good_images)
    if rule.is_trained_on:
        return ThresholdOutlook(threshold, carried, (), (), split.duplicates)
    effective = effective_count(np.array(rule.scores), rule.blocks, rule.groups) if rule.scores else carried
    asked = run.false_alarm_rate
    rates = tuple(_outlook(rule, rate, own, found) for rate in sorted({asked, *_RATES}))
    more = tuple(bound_with(count, threshold.good_images, effective, asked, rule) for count in _MORE)
    return ThresholdOutlook(threshold, effective, rates, more, split.duplicates)


def bound_with(more: int, different: int, effective: float, false_alarm_rate: float, rule: GoodScores) -> MorePhotos:
    """What ``more`` photos would bring, where they carry as much each as those that there are.

    Args:
        more: Further photos.
        different: Different photos that set the threshold now.
        effective: How many single ones these carry as much as.
        false_alarm_rate: The rate that is asked for.
        rule: How the threshold is set; of further photos for a held-out block only 15 % set it.
    """
    share = 1.0 if rule.scores else 0.15
    photos = max(1, math.floor(effective * (different + share * more) / different))
    above = photos - min(conformal_rank(photos, false_alarm_rate), photos)
    stated = expected_rate_bound(false_alarm_rate, photos) if rule.scores else max(false_alarm_rate, 1 / (photos + 1))
    return MorePhotos(more, stated, rate_upper_bound(above, photos, 0.95))


def _outlook(rule: GoodScores, rate: float, own: NDArray[np.float64], found: NDArray[np.float64]) -> RateOutlook:
    threshold = replace(rule, false_alarm_rate=rate).threshold(own)
    recall = float((found > threshold.value).mean())
    stated = (
        stated_rate(np.array(rule.scores), rule.blocks, rule.groups, false_alarm_rate=rate)
        if rule.scores
        else max(rate, 1 / (threshold.good_images + 1))
    )
    return RateOutlook(rate, stated, threshold.false_alarm_bound, recall)


def _painted(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Pseudo-defects on the images in turn, several on each where they are few."""
    rows = np.arange(min(_PICTURES, 4 * len(images))) % len(images)
    return PseudoDefects(seed).apply(images[rows])[0]


def _scores(detector: AnomalyDetector, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    predict = torch_predictor(detector)
    parts = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    return np.array([prediction.score for part in parts for prediction in predict(part)])
