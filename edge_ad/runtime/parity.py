"""Parity of an engine with the trained network, as ``verify`` shows it and as every stream checks it first.

A graph in FP32 must give the same scores and maps within a tolerance. A graph in another precision has passed an
accuracy gate with its own threshold. So its maps are compared with the limit of that gate, and its scores, relative to
its own threshold, must lie where those of the trained network lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle import Bundle, Reference
from edge_ad.manifest import Precision
from edge_ad.prediction import Prediction
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine import Engine

__all__ = [
    "ONNX_TOLERANCE",
    "Deviation",
    "Parity",
    "compare",
    "map_correlation",
    "parity_of",
    "parity_of_engine",
    "recorded_predictions",
    "sorts",
]

ONNX_TOLERANCE = 1e-4
"""Of an exported graph in ONNX Runtime against torch, as a share of the map's range."""

# For engines other than FP32. Learned heads are refitted on INT8 features: 0.14, 0.13 and 0.83 were seen.
_MOST_SCORE_SHIFT = 0.25
_MOST_MAP_SHIFT = 0.5
_MAP_SCALES = (0.5, 2.0)
_LEAST_MAP_CORRELATION = 0.9  # however permissive a gate was
_MOST_SCORE_ERROR = 0.02  # of FP32, of the largest score or the threshold: a map's range may be far larger


@dataclass(frozen=True)
class Deviation:
    """Differences between predictions and their reference, as shares of the reference's scale.

    The scale is the largest magnitude in the reference maps, but at least 1: maps of reconstruction methods lie in
    [0, 1] and are compared absolutely, Mahalanobis distances reach hundreds and are compared relatively.

    Attributes:
        score: Largest difference of a score.
        map: Largest difference of a pixel.
        map_typical: 99.9th percentile of the differences of pixels. A patch whose distance lies within float error of a
            binary mask's limit may flip; then ``map`` is large and this is not.
        outliers: Images with a pixel further away than ``tolerance``.
        images: Images compared.
        tolerance: Largest allowed difference.
        is_sorted: Whether the network sorts. Rounding then swaps values of neighbouring ranks, each takes the other's
            place in the reference, and single pixels follow: ``map_typical`` must be within, ``map`` need not.
    """

    score: float
    map: float
    map_typical: float
    outliers: int
    images: int
    tolerance: float
    is_sorted: bool = False

    @property
    def is_within(self) -> bool:
        """Whether every score and pixel that must be is within the tolerance; False when one is not finite."""
        pixels = self.map_typical if self.is_sorted and math.isfinite(self.map) else self.map
        return self.score <= self.tolerance and pixels <= self.tolerance


@dataclass(frozen=True)
class Parity:
    """Comparison of one engine with the reference.

    Attributes:
        deviation: Differences of scores and maps.
        map_correlation: Mean correlation of its maps with those of the reference.
        score_shift: Largest difference of a score, each relative to its own graph's threshold, as a share of the
            furthest that a pixel of the reference lies from the FP32 threshold.
        map_shift: Difference of the mean of the maps, measured in the same way.
        map_scale: Standard deviation of the maps, as a multiple of the reference's.
        problem: What is wrong, in words; empty when it passed.
    """

    deviation: Deviation
    map_correlation: float
    score_shift: float
    map_shift: float
    map_scale: float
    problem: str

    @property
    def passed(self) -> bool:
        """Whether the engine gives the trained numbers."""
        return not self.problem


def parity_of_engine(
    bundle: Bundle, engine: Engine, images: NDArray[np.uint8], reference: Sequence[Prediction], *, batch: int = 1
) -> Parity:
    """Compare an engine with the reference, in every way in which a stream uses it.

    Args:
        bundle: The bundle.
        engine: Its engine, open.
        images: uint8 (N, H, W, 3), BGR at the input size.
        reference: The trained network's predictions for them, N.
        batch: Frames that a stream gives to it in one call, besides one at a time and several in flight.

    Returns:
        The result for frames one at a time, or for the first way that fails.
    """
    description = engine.describe()
    found = []
    for way, predictions in _every_way(engine, images, batch):
        parity = parity_of(
            bundle, cast("Precision", description.precision), description.backend, predictions, reference
        )
        if parity.problem:
            return replace(parity, problem=f"{way}: {parity.problem}" if way else parity.problem)
        found.append(parity)
    return found[0]


def _every_way(engine: Engine, images: NDArray[np.uint8], batch: int) -> Iterator[tuple[str, list[Prediction]]]:
    singly = [images[index : index + 1] for index in range(len(images))]
    yield "", [engine.infer(image)[0] for image in singly]
    yield "several in flight", list(engine.infer_many(singly))
    if batch > 1:
        stacks = [
            np.take(images, range(start, start + batch), axis=0, mode="wrap") for start in range(0, len(images), batch)
        ]
        yield f"{batch} in one call", [item for stack in stacks for item in engine.infer(stack)][: len(images)]


def parity_of(
    bundle: Bundle,
    precision: Precision,
    backend: str,
    predictions: Sequence[Prediction],
    reference: Sequence[Prediction],
) -> Parity:
    """Compare an engine's predictions with the trained network's.

    Args:
        bundle: The bundle; it has the thresholds, and the limits of the gate.
        precision: Graph that the engine runs.
        backend: What runs it.
        predictions: The engine's, N >= 1.
        reference: The trained network's on the same images, N.
    """
    tolerance = get_backend(backend).tolerance
    deviation = compare(predictions, reference, tolerance, is_sorted=sorts(bundle.manifest.parameters))
    correlation = _mean_correlation(predictions, reference)
    shifts = _shifts(bundle, precision, predictions, reference)
    scale = _map_scale(predictions, reference)
    if not all(item.is_finite for item in (*predictions, *reference)):
        problem = "a score or a map is not finite"
    elif precision == "fp32":
        problem = _of_tolerance(deviation) or _of_scores(bundle, predictions, reference) or _of_level(*shifts, scale)
    else:
        problem = _of_gate(bundle, precision, correlation) or _of_level(*shifts, scale)
    return Parity(deviation, correlation, *shifts, scale, problem)


def recorded_predictions(reference: Reference) -> list[Prediction]:
    """The trained network's predictions, recorded when the bundle was exported."""
    return [Prediction(float(score), values) for score, values in zip(reference.scores, reference.maps, strict=True)]


def sorts(parameters: Mapping[str, object]) -> bool:
    """Whether a detector of these parameters sorts, as ``matching=exact`` does."""
    return parameters.get("matching") == "exact"


def compare(
    predictions: Sequence[Prediction], reference: Sequence[Prediction], tolerance: float, *, is_sorted: bool = False
) -> Deviation:
    """Compare predictions on the same images.

    Args:
        predictions: Those of an engine, N >= 1.
        reference: Those of the trained network, N.
        tolerance: Largest difference that is allowed.
        is_sorted: Whether the network sorts; see `Deviation`.
    """
    scores, maps = _arrays(predictions)
    reference_scores, reference_maps = _arrays(reference)
    scale = max(1.0, float(np.abs(reference_maps).max()))
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which is never within
        differences = np.abs(maps - reference_maps) / scale
        score = float(np.abs(scores - reference_scores).max()) / scale
    per_image = differences.max(axis=(1, 2))
    return Deviation(
        score=score,
        map=float(per_image.max()),
        map_typical=float(np.quantile(differences, 0.999)),
        outliers=int(np.count_nonzero(~(per_image <= tolerance))),
        images=len(per_image),
        tolerance=tolerance,
        is_sorted=is_sorted,
    )


def map_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation of two maps; 1 for two flat ones, 0 when only one is flat."""
    a64, b64 = a.ravel() - a.mean(dtype=np.float64), b.ravel() - b.mean(dtype=np.float64)
    length = math.sqrt(float(a64 @ a64) * float(b64 @ b64))
    if length == 0.0:
        return 1.0 if not a64.any() and not b64.any() else 0.0
    return float(a64 @ b64) / length


def _of_tolerance(deviation: Deviation) -> str:
    if deviation.is_within:
        return ""
    worst = max(deviation.score, deviation.map_typical if deviation.is_sorted else deviation.map)
    return f"scores or maps differ by {worst:.1e} of the map's range, {deviation.tolerance:.0e} is allowed"


def _of_scores(bundle: Bundle, predictions: Sequence[Prediction], reference: Sequence[Prediction]) -> str:
    scores, reference_scores = (np.array([item.score for item in part]) for part in (predictions, reference))
    size = max(float(np.abs(reference_scores).max()), abs(bundle.graph("fp32").threshold.value))
    error = float(np.abs(scores - reference_scores).max()) / max(size, float(np.finfo(np.float32).tiny))
    return "" if error <= _MOST_SCORE_ERROR else f"a score differs by {error:.1%}, {_MOST_SCORE_ERROR:.0%} is allowed"


def _of_gate(bundle: Bundle, precision: Precision, correlation: float) -> str:
    gate = bundle.graph(precision).gate
    if gate is None or not gate.passed or "map_correlation" not in gate.limits:
        return "its graph did not pass an accuracy gate"
    # A permissive gate must not let such an engine onto the line.
    least = max(gate.limits["map_correlation"], _LEAST_MAP_CORRELATION)
    return "" if correlation >= least else f"its maps correlate by {correlation:.3f}, below the limit of {least:g}"


def _of_level(score_shift: float, map_shift: float, scale: float) -> str:
    for name, shift, most in (("a score", score_shift, _MOST_SCORE_SHIFT), ("its maps", map_shift, _MOST_MAP_SHIFT)):
        if not shift <= most:
            return f"{name} is shifted by {shift:.2f} of the map's range; {most:g} is allowed"
    low, high = _MAP_SCALES
    return "" if low <= scale <= high else f"its maps vary {scale:.3g} times as much, {low:g} to {high:g} is allowed"


def _mean_correlation(predictions: Sequence[Prediction], reference: Sequence[Prediction]) -> float:
    pairs = zip(predictions, reference, strict=True)
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.mean([map_correlation(ours.anomaly_map, theirs.anomaly_map) for ours, theirs in pairs]))


def _shifts(
    bundle: Bundle, precision: Precision, predictions: Sequence[Prediction], reference: Sequence[Prediction]
) -> tuple[float, float]:
    """Shift of scores and maps, each relative to its own graph's threshold."""
    own = bundle.graph(precision).threshold.value
    trained = bundle.graph("fp32").threshold.value if "fp32" in bundle.manifest.graphs else own
    scores, maps = _arrays(predictions)
    reference_scores, reference_maps = _arrays(reference)
    reach = max(float(np.abs(reference_maps - trained).max()), float(np.finfo(np.float32).tiny))
    with np.errstate(invalid="ignore", over="ignore"):
        score_shift = np.abs((scores - own) - (reference_scores - trained)).max()
        map_shift = abs((maps.mean(dtype=np.float64) - own) - (reference_maps.mean(dtype=np.float64) - trained))
    return float(score_shift) / reach, float(map_shift) / reach


def _map_scale(predictions: Sequence[Prediction], reference: Sequence[Prediction]) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        own, trained = (float(_arrays(part)[1].std(dtype=np.float64)) for part in (predictions, reference))
    if trained == 0.0:
        return 1.0 if own == 0.0 else math.inf
    return own / trained


def _arrays(predictions: Sequence[Prediction]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    scores = np.array([prediction.score for prediction in predictions], np.float64)
    return scores, np.stack([prediction.anomaly_map for prediction in predictions])
