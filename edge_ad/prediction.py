"""What a detector says about one image, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Prediction", "Verdict", "normalised_score"]


@dataclass(frozen=True)
class Prediction:
    """Output of an engine or a detector for one image.

    Attributes:
        score: Raw anomaly score; higher is more anomalous; unbounded.
        anomaly_map: float32 (H, W), same unit as the score, smoothing included.
    """

    score: float
    anomaly_map: NDArray[np.float32]


@dataclass(frozen=True)
class Verdict:
    """A prediction judged against a threshold.

    Attributes:
        score: Raw anomaly score.
        threshold: Raw score above which a part is called defective.
        is_anomalous: ``score > threshold``.
        normalised: Score on a scale where 0.5 is the threshold, in [0, 1).
    """

    score: float
    threshold: float
    is_anomalous: bool
    normalised: float

    @classmethod
    def of(cls, score: float, threshold: float) -> Verdict:
        """Judge a raw score."""
        return cls(score, threshold, score > threshold, normalised_score(score, threshold))


def normalised_score(score: float, threshold: float) -> float:
    """Map a raw score to [0, 1) with 0.5 at the threshold: ``s / (s + t)`` for s, t > 0.

    A non-positive score maps to 0; a non-positive threshold makes every positive score 1 minus epsilon.
    """
    if score <= 0.0:
        return 0.0
    if threshold <= 0.0:
        return float(np.nextafter(1.0, 0.0))
    return score / (score + threshold)
