"""How much each layer disturbs the anomaly map and the score when it alone is INT8."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edge_ad.calibration.gate_data import GateReference
from edge_ad.calibration.graph_runner import run_graph

__all__ = ["FEW_IMAGES", "LayerSensitivity", "SensitivityAnalysis", "most_sensitive_first"]

FEW_IMAGES = 4
"""On how many images a layer is tried: two good ones, two with a pseudo-defect."""

_LARGEST_DB = 120.0
_BROKEN_DRIFT = 1e6

Quantise = Callable[[Collection[str]], ModelProto]


@dataclass(frozen=True)
class LayerSensitivity:
    """What one layer does alone.

    Attributes:
        layer: Name of its node.
        sqnr_db: Variance of the FP32 anomaly maps over the mean squared error that this layer adds to them, in decibels
            in [-120, 120]; 10 dB more is a tenth of the noise.
        score_drift: Mean distance of its scores from those of FP32, in standard deviations of the FP32 scores.
    """

    layer: str
    sqnr_db: float
    score_drift: float


class SensitivityAnalysis:
    """Quantise one layer at a time; what was measured once is not measured again.

    Args:
        reference: FP32 on a few images; each layer is run on all of them.
        quantise: Layers → graph with these in INT8.
        known: Results of an earlier analysis of the same graph and ranges.
        listen: Told how many layers are done, and of how many.
    """

    def __init__(
        self,
        reference: GateReference,
        quantise: Quantise,
        *,
        known: Iterable[LayerSensitivity] = (),
        listen: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._quantise, self._listen = quantise, listen
        self._found = {item.layer: item for item in known}
        self._reference = reference

    @property
    def found(self) -> list[LayerSensitivity]:
        """All that has been measured, the most sensitive first."""
        return most_sensitive_first(self._found.values())

    def measure(self, layers: Collection[str]) -> list[LayerSensitivity]:
        """Measure layers that have not been, and return these layers, the most sensitive first."""
        missing = [layer for layer in layers if layer not in self._found]
        for done, layer in enumerate(missing, 1):
            self._found[layer] = self._measure(layer)
            self._listen(done, len(missing))
        return most_sensitive_first(self._found[layer] for layer in layers)

    def _measure(self, layer: str) -> LayerSensitivity:
        graph = self._quantise([layer])
        predictions = run_graph(graph, self._reference.data.images)
        maps = np.stack([prediction.anomaly_map for prediction in predictions])
        scores = np.array([prediction.score for prediction in predictions])
        if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            return LayerSensitivity(layer, -_LARGEST_DB, _BROKEN_DRIFT)
        drift = float(np.abs(scores - self._reference.scores).mean() / self._reference.spread)
        return LayerSensitivity(layer, _sqnr_db(self._reference.maps, maps), drift)


def most_sensitive_first(items: Iterable[LayerSensitivity]) -> list[LayerSensitivity]:
    """By the noise at the map; layers that add the same, by their drift."""
    return sorted(items, key=lambda item: (item.sqnr_db, -item.score_drift))


def _sqnr_db(float_maps: NDArray[np.float32], maps: NDArray[np.float32]) -> float:
    signal = float(float_maps.var(dtype=np.float64))
    noise = float(np.square(maps.astype(np.float64) - float_maps).mean())
    if noise == 0.0 or signal == 0.0:
        return _LARGEST_DB if noise == 0.0 else -_LARGEST_DB
    return min(max(10 * math.log10(signal / noise), -_LARGEST_DB), _LARGEST_DB)
