"""The accuracy gate: an INT8 or FP16 engine beside its FP32 reference, on held-out good images and pseudo-defects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.evaluation.roc import image_auroc, pixel_auroc
from edge_ad.manifest import GateReport
from edge_ad.prediction import Prediction

__all__ = ["GateData", "GateLimits", "GateReference", "describe_checks", "failed_checks", "judge", "map_correlation"]

Predictor = Callable[[NDArray[np.uint8]], list[Prediction]]

_FEWEST_DEFECTIVE = 32
_MOST_REPEATS = 4


@dataclass(frozen=True)
class GateLimits:
    """What an engine may lose against FP32.

    Attributes:
        image_auroc_drop: Largest drop of image AUROC.
        pixel_auroc_drop: Largest drop of pixel AUROC.
        map_correlation: Smallest mean correlation of its maps with those of FP32.
        score_drift: Largest shift of the mean score of good images, in standard deviations of all FP32 scores. The
            threshold is set anew, so this only tells an engine that is broken from one that is offset.
    """

    image_auroc_drop: float = 0.005
    pixel_auroc_drop: float = 0.005
    map_correlation: float = 0.95
    score_drift: float = 0.25

    def as_dict(self) -> dict[str, float]:
        """Name → limit, as the report has it."""
        return dict(vars(self))


@dataclass(frozen=True)
class GateData:
    """Images to compare on.

    Attributes:
        images: uint8 (N, H, W, 3), good ones first.
        masks: bool (N, H, W), all False for good images.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]

    @classmethod
    def of(cls, good: NDArray[np.uint8], *, seed: int = 0) -> GateData:
        """Held-out good images (N, H, W, 3) and pseudo-defects made of them, several of each if they are few."""
        repeats = min(_MOST_REPEATS, math.ceil(_FEWEST_DEFECTIVE / len(good)))
        source = np.concatenate([good] * repeats)
        defective, masks = PseudoDefects(seed).apply(source)
        clean = np.zeros((len(good), *good.shape[1:3]), np.bool_)
        return cls(np.concatenate([good, defective]), np.concatenate([clean, masks]))

    @property
    def labels(self) -> NDArray[np.bool_]:
        """Bool (N,), True where there is a pseudo-defect."""
        return np.asarray(self.masks.any(axis=(1, 2)))


@dataclass(frozen=True)
class GateReference:
    """FP32 on the images of the gate.

    Attributes:
        data: The images.
        scores: float64 (N,).
        maps: float32 (N, H, W).
    """

    data: GateData
    scores: NDArray[np.float64]
    maps: NDArray[np.float32]

    @classmethod
    def of(cls, data: GateData, predict: Predictor) -> GateReference:
        """Run FP32 over the images."""
        return cls(data, *_predict(predict, data.images))


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
    scores, maps = _predict(predict, reference.data.images)
    checks = _checks(reference, scores, maps)
    passed = (
        checks["image_auroc_drop"] <= limits.image_auroc_drop
        and checks["pixel_auroc_drop"] <= limits.pixel_auroc_drop
        and checks["map_correlation"] >= limits.map_correlation
        and checks["score_drift"] <= limits.score_drift
    )
    return GateReport(
        passed=passed,
        checks=checks,
        limits=limits.as_dict(),
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
        if (value < report.limits[name] if name == "map_correlation" else not value <= report.limits[name])
    )


def _checks(reference: GateReference, scores: NDArray[np.float64], maps: NDArray[np.float32]) -> dict[str, float]:
    data, labels = reference.data, reference.data.labels
    if not (np.isfinite(scores).all() and np.isfinite(maps).all()):
        worst = {"image_auroc_drop": 1.0, "pixel_auroc_drop": 1.0, "map_correlation": 0.0}
        return {**worst, "score_drift": float(np.finfo(np.float32).max)}
    image = image_auroc(labels, reference.scores) - image_auroc(labels, scores)
    pixel = pixel_auroc(data.masks, reference.maps) - pixel_auroc(data.masks, maps)
    spread = max(float(reference.scores.std()), 1e-9)
    return {
        "image_auroc_drop": float(image),
        "pixel_auroc_drop": float(pixel),
        "map_correlation": float(np.mean([map_correlation(a, b) for a, b in zip(reference.maps, maps, strict=True)])),
        "score_drift": float(abs((scores - reference.scores)[~labels].mean()) / spread),
    }


def map_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation of two maps; 1 for two flat ones, 0 when only one is flat."""
    a64, b64 = a.ravel() - a.mean(dtype=np.float64), b.ravel() - b.mean(dtype=np.float64)
    length = math.sqrt(float(a64 @ a64) * float(b64 @ b64))
    if length == 0.0:
        return 1.0 if not a64.any() and not b64.any() else 0.0
    return float(a64 @ b64) / length


def _predict(predict: Predictor, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    predictions = [predict(images[index : index + 1])[0] for index in range(len(images))]
    scores = np.array([prediction.score for prediction in predictions], np.float64)
    return scores, np.stack([prediction.anomaly_map for prediction in predictions])
