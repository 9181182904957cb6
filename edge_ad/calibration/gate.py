"""The accuracy gate: an engine beside its FP32 reference, on held-out good images and pseudo-defects made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.calibration_set import HeldImages
from edge_ad.calibration.graph_runner import graph_predictor, open_graph
from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.evaluation.metrics import pro
from edge_ad.evaluation.metrics import pixel_auroc
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.manifest import GateReport, Precision, Threshold
from edge_ad.prediction import Prediction
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.parity import map_correlation

__all__ = [
    "AccuracyGate",
    "GateData",
    "GateLimits",
    "GateReference",
    "Gated",
    "describe_checks",
    "describe_engine",
    "failed_checks",
    "judge",
    "smoothed_auroc",
]

Predictor = Callable[[NDArray[np.uint8]], list[Prediction]]

_FEWEST_DEFECTIVE = 64
_MOST_REPEATS = 16
_AT_LEAST = ("map_correlation",)  # the other checks are at most their limit
_BANDWIDTH = 0.1  # of `smoothed_auroc`, in standard deviations of the scores
_SMALLEST = 1e-12


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


@dataclass(frozen=True)
class Gated:
    """What the gate says of a graph.

    Attributes:
        report: Every check.
        threshold: The engine's own, from its scores of held-out good images (see `GoodScores`); None where the gate failed.
        engine: Backend, version and device, in words.
    """

    report: GateReport
    threshold: Threshold | None
    engine: str


class AccuracyGate:
    """The one gate of every recipe: it runs a graph as the backend's engine, and sets its threshold where it passes.

    Args:
        model: The float graph.
        held: Images of the run.
        backend: ``"openvino"`` or ``"onnxruntime"``.
        limits: What the engine may lose.
        threshold: Any threshold; the gate does not depend on it.
        good: What the engine's own threshold is set from, beside its scores.
    """

    def __init__(
        self,
        model: ModelProto,
        held: HeldImages,
        backend: str,
        limits: GateLimits,
        threshold: Threshold,
        good: GoodScores | None = None,
    ) -> None:
        self.data = GateData.of(held.held_out)
        self.limits = limits
        self._good = GoodScores() if good is None else good
        self._model, self._held, self._backend, self._threshold = model, held, backend, threshold

    @cached_property
    def reference(self) -> GateReference:
        """FP32 on the images of the gate."""
        return GateReference.of(self.data, graph_predictor(self._model))

    def judge(
        self,
        graph: ModelProto,
        precision: Precision,
        *,
        quantised_layers: int = 0,
        float_layers: Sequence[str] = (),
        float32: Sequence[str] = (),
    ) -> Gated:
        """Hold a graph against the limits.

        Args:
            graph: Deploy graph.
            precision: What it is.
            quantised_layers: Number of its INT8 layers, for the report.
            float_layers: Layers that were returned to float before, for the report.
            float32: Parts that an engine in bfloat16 computes in float32.
        """
        with open_graph(graph, self._backend, precision, self._threshold, float32) as engine:
            report = judge(
                self.reference,
                engine.infer,
                self.limits,
                quantised_layers=quantised_layers,
                float_layers=float_layers,
            )
            # Scores of a graph that is broken may not be finite.
            threshold = self._good.threshold(_scores(engine, self._held.scored)) if report.passed else None
            return Gated(report, threshold, describe_engine(engine.describe()))

    def judge_predictor(self, predict: Predictor) -> GateReport:
        """Hold what is no engine of a backend against the limits."""
        return judge(self.reference, predict, self.limits)


def describe_engine(engine: EngineDescription) -> str:
    """Backend, version and device, in words."""
    return f"{engine.backend} {engine.version}, {engine.device}"


def _scores(engine: Engine, images: NDArray[np.uint8]) -> list[float]:
    return [engine.infer(images[index : index + 1])[0].score for index in range(len(images))]


def smoothed_auroc(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Share of the pairs of a good and a defective image that are in order, each counted by how clearly it is.

        mean over pairs of (1 + tanh((defective - good) / bandwidth)) / 2

    AUROC counts a pair as 0, 1/2 or 1. With a dozen good images the rounding of an engine turns a few pairs over that
    hang by a thread, which moves AUROC by several thousandths in either direction and says nothing about the next
    images. Here such a pair stays near 1/2. The bandwidth is a tenth of the scores' own standard deviation, so that,
    as for AUROC, neither an offset nor a scale of the scores matters; the limit for bandwidth → 0 is AUROC.

    Args:
        labels: bool (N,), True where there is a defect; both kinds are there.
        scores: (N,), finite.

    Returns:
        A value in [0, 1].
    """
    bandwidth = max(_BANDWIDTH * float(scores.std()), _SMALLEST)
    distances = scores[labels][:, np.newaxis] - scores[~labels]
    return float((1 + np.tanh(distances / bandwidth)).mean() / 2)
