"""What a detector says about one image, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOT_FINITE", "Prediction", "Verdict", "normalised_score"]

NOT_FINITE = "not finite"
"""Reason of a verdict on numbers that are NaN or infinite: such a part was not inspected, and so it is never OK."""


@dataclass(frozen=True)
class Prediction:
    """Output of an engine or a detector for one image.

    Attributes:
        score: Raw anomaly score; higher is more anomalous; unbounded.
        anomaly_map: float32 (H, W), same unit as the score, smoothing included.
    """

    score: float
    anomaly_map: NDArray[np.float32] = field(repr=False)

    @property
    def is_finite(self) -> bool:
        """Whether the score and every pixel of the map is a finite number."""
        return math.isfinite(self.score) and bool(np.isfinite(self.anomaly_map).all())


@dataclass(frozen=True)
class Verdict:
    """A prediction judged against a threshold.

    Attributes:
        score: Raw anomaly score.
        threshold: Raw score above which a part is called defective.
        is_anomalous: ``score > threshold``, or that something is not a finite number.
        normalised: Score on a scale where 0.5 is the threshold, in [0, 1]; NaN when something is not finite.
        reason: ``"not finite"`` when score, map or threshold is NaN or infinite, ``"another shape"`` for a frame of
            another shape than was trained on, or why its part could not be aligned; empty otherwise.
    """

    score: float
    threshold: float
    is_anomalous: bool
    normalised: float
    reason: str = ""

    @classmethod
    def of(cls, score: float, threshold: float) -> Verdict:
        """Judge a raw score alone."""
        if not (math.isfinite(score) and math.isfinite(threshold)):
            return cls(score, threshold, True, math.nan, NOT_FINITE)
        return cls(score, threshold, score > threshold, normalised_score(score, threshold))

    @classmethod
    def judge(cls, prediction: Prediction, threshold: float) -> Verdict:
        """Judge a prediction: its score, and whether its map can be believed."""
        verdict = cls.of(prediction.score, threshold)
        if prediction.is_finite:
            return verdict
        return replace(verdict, is_anomalous=True, normalised=math.nan, reason=NOT_FINITE)


def normalised_score(score: float, threshold: float) -> float:
    """Map a raw score to [0, 1] with 0.5 at the threshold: ``s / (s + t)`` for s, t > 0.

    A non-positive score maps to 0; a non-positive threshold makes every positive score 1 minus epsilon.
    """
    if score <= 0.0:
        return 0.0
    if threshold <= 0.0:
        return float(np.nextafter(1.0, 0.0))
    total = score + threshold
    return score / total if math.isfinite(total) else 1.0 / (1.0 + threshold / score)
