"""What the accuracy gate compares on: held-out good images, pseudo-defects made of them, and FP32's answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge_ad.calibration.smoothed_auroc import smoothed_auroc
from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.evaluation.metrics import pro
from edge_ad.evaluation.metrics import pixel_auroc
from edge_ad.prediction import Prediction

__all__ = ["GateData", "GateReference", "Predictor", "predict_all"]

Predictor = Callable[[NDArray[np.uint8]], list[Prediction]]

_FEWEST_DEFECTIVE = 64
_MOST_REPEATS = 16


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

    def few(self, count: int) -> GateData:
        """A few images, evenly over good and defective ones."""
        rows = self.few_rows(count)
        return GateData(self.images[rows], self.masks[rows])

    def few_rows(self, count: int) -> NDArray[np.intp]:
        """Their indices."""
        good, defective = np.flatnonzero(~self.labels), np.flatnonzero(self.labels)
        chosen = [
            rows[np.linspace(0, len(rows) - 1, min(share, len(rows))).astype(int)]
            for rows, share in ((good, count // 2), (defective, count - count // 2))
        ]
        return np.concatenate(chosen)


@dataclass(frozen=True)
class GateReference:
    """FP32 on the images of the gate.

    Attributes:
        data: The images.
        scores: float64 (N,).
        maps: float32 (N, H, W).
        spread: Standard deviation of the FP32 scores, above 0.
    """

    data: GateData
    scores: NDArray[np.float64]
    maps: NDArray[np.float32]
    spread: float

    @classmethod
    def of(cls, data: GateData, predict: Predictor, *, spread: float | None = None) -> GateReference:
        """Run FP32 over the images.

        Args:
            data: The images.
            predict: FP32.
            spread: Where ``data`` are a few of more images: that of all.
        """
        scores, maps = predict_all(predict, data.images)
        return cls(data, scores, maps, max(float(scores.std()), 1e-9) if spread is None else spread)

    def few(self, count: int) -> GateReference:
        """FP32 on a few of the images, evenly over good and defective ones."""
        rows = self.data.few_rows(count)
        return GateReference(self.data.few(count), self.scores[rows], self.maps[rows], self.spread)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """``image_auroc`` (of `smoothed_auroc`), ``pixel_auroc`` and ``pro`` of FP32."""
        return _metrics(self.data, self.scores, self.maps)

    def drops(self, scores: NDArray[np.float64], maps: NDArray[np.float32]) -> dict[str, float]:
        """What another engine's scores (N,) and maps (N, H, W) lose: metric → FP32 minus the engine."""
        return {name: self.metrics[name] - value for name, value in _metrics(self.data, scores, maps).items()}


def predict_all(predict: Predictor, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Scores (N,) and maps (N, H, W) of images (N, H, W, 3), one image at a time."""
    predictions = [predict(images[index : index + 1])[0] for index in range(len(images))]
    scores = np.array([prediction.score for prediction in predictions], np.float64)
    return scores, np.stack([prediction.anomaly_map for prediction in predictions])


def _metrics(data: GateData, scores: NDArray[np.float64], maps: NDArray[np.float32]) -> dict[str, float]:
    return {
        "image_auroc": smoothed_auroc(data.labels, scores),
        "pixel_auroc": pixel_auroc(data.masks, maps),
        "pro": pro(data.masks, maps),
    }
