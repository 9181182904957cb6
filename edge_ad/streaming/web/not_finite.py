"""Numbers that are not finite: never a good part, null in JSON, and words for people."""

from __future__ import annotations

import math
from typing import Any

from edge_ad.prediction import Verdict

__all__ = ["NOT_FINITE", "finite", "is_ng", "severity", "strict"]

NOT_FINITE = "not finite"


def finite(value: float) -> float | None:
    """The number, or None for NaN and infinity, which JSON does not have."""
    return float(value) if math.isfinite(value) else None


def is_ng(verdict: Verdict) -> bool:
    """Whether a part is shown as defective: whatever cannot be compared is no good part."""
    return verdict.is_anomalous or not (math.isfinite(verdict.score) and math.isfinite(verdict.threshold))


def severity(score: float) -> float:
    """By which scores are ranked: nothing is worse than one that is not finite."""
    return score if math.isfinite(score) else math.inf


def strict(value: Any) -> Any:
    """Plain data with None for every number that JSON does not have."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    return [strict(item) for item in value] if isinstance(value, list | tuple) else value
