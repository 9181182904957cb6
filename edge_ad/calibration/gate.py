"""The accuracy gate: an INT8 or FP16 engine beside its FP32 reference, on held-out good images and pseudo-defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.gate_data import GateData, GateReference, Predictor, predict_all
from edge_ad.manifest import GateReport
from edge_ad.runtime.parity import map_correlation

__all__ = ["GateData", "GateLimits", "GateReference", "describe_checks", "failed_checks", "judge"]

_AT_LEAST = ("map_correlation",)  # the other checks are at most their limit


@dataclass(frozen=True)
class GateLimits:
    """What an engine may lose against FP32.

    Attributes:
        image_auroc_drop: Largest drop of image AUROC, of `smoothed_auroc`.
        pixel_auroc_drop: Largest drop of pixel AUROC.
        pro_drop: Largest drop of PRO.
        map_correlation: Smallest mean correlation of its maps with those of FP32.
        score_drift: Largest shift of the mean score of good images, in standard deviations of all FP32 scores. The
            threshold is set anew, so this only tells an engine that is broken from one that is offset.
    """

    image_auroc_drop: float = 0.002
    pixel_auroc_drop: float = 0.002
    pro_drop: float = 0.005
    map_correlation: float = 0.95
    score_drift: float = 0.25

    @classmethod
    def of_drop(cls, max_drop: float) -> GateLimits:
        """The limits with another drop of image and pixel AUROC; PRO, which is coarser, may drop 2.5 times as far."""
        return cls(image_auroc_drop=max_drop, pixel_auroc_drop=max_drop, pro_drop=2.5 * max_drop)

    def as_dict(self) -> dict[str, float]:
        """Name → limit, as the report has it."""
        return dict(vars(self))


def judge(
    reference: GateReference,
    predict: Predictor,
    limits: GateLimits,
    *,
    quantised_layers: int = 0,
    float_layers: Sequence[str] = (),
) -> GateReport:
    """Run an engine over the images of the gate and hold it against the limits.

    Args:
        reference: FP32 on the same images.
        predict: The engine.
        limits: What it may lose.
        quantised_layers: Number of its INT8 layers, for the report.
        float_layers: Layers that the gate has returned to float before, for the report.
    """
    checks = _checks(reference, *predict_all(predict, reference.data.images))
    held = limits.as_dict()
    return GateReport(
        passed=all(_holds(name, value, held[name]) for name, value in checks.items()),
        checks=checks,
        limits=held,
        float_layers=list(float_layers),
        quantised_layers=quantised_layers,
    )


def describe_checks(report: GateReport) -> str:
    """Every check and its value, in words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in report.checks.items())


def failed_checks(report: GateReport) -> str:
    """The checks that failed, with their values and limits, in words."""
    return ", ".join(
        f"{name} {value:.4f} (limit {report.limits[name]:g})"
        for name, value in report.checks.items()
        if not _holds(name, value, report.limits[name])
    )


def _holds(name: str, value: float, limit: float) -> bool:
    return value >= limit if name in _AT_LEAST else value <= limit


def _checks(reference: GateReference, scores: NDArray[np.float64], maps: NDArray[np.float32]) -> dict[str, float]:
    if not (np.isfinite(scores).all() and np.isfinite(maps).all()):
        worst = dict.fromkeys(("image_auroc_drop", "pixel_auroc_drop", "pro_drop"), 1.0)
        return {**worst, "map_correlation": 0.0, "score_drift": float(np.finfo(np.float32).max)}
    pairs = zip(reference.maps, maps, strict=True)
    good = ~reference.data.labels
    return {
        **{f"{name}_drop": float(drop) for name, drop in reference.drops(scores, maps).items()},
        "map_correlation": float(np.mean([map_correlation(a, b) for a, b in pairs])),
        "score_drift": float(abs((scores - reference.scores)[good].mean()) / reference.spread),
    }
