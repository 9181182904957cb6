import math
from collections.abc import Collection

import numpy as np
import pytest
from onnx import ModelProto

from edge_ad.calibration import sensitivity
from edge_ad.calibration.gate import GateData, GateReference
from edge_ad.calibration.sensitivity import LayerSensitivity, SensitivityAnalysis
from edge_ad.prediction import Prediction

RNG = np.random.default_rng(0)
MAPS = RNG.normal(0, 2, (8, 32, 32)).astype(np.float32)
MASKS = np.zeros((8, 32, 32), bool)
MASKS[4:, :4] = True
SCORES = np.arange(8, dtype=np.float64)
REFERENCE = GateReference(GateData(np.zeros((8, 32, 32, 3), np.uint8), MASKS), SCORES, MAPS, float(SCORES.std()))


def analysis(monkeypatch: pytest.MonkeyPatch, noise: dict[str, float], **options: object) -> SensitivityAnalysis:
    """Layers that add a checkerboard of some height to the map, and that height to the score."""
    rows = REFERENCE.data.few_rows(4)
    board = np.indices((32, 32)).sum(0) % 2 * 2.0 - 1

    def run(name: str, images: np.ndarray) -> list[Prediction]:
        return [Prediction(SCORES[i] + noise[name], (MAPS[i] + noise[name] * board).astype(np.float32)) for i in rows]

    monkeypatch.setattr(sensitivity, "run_graph", run)

    def only(layers: Collection[str]) -> ModelProto:
        (name,) = layers
        return name  # type: ignore[return-value]

    return SensitivityAnalysis(REFERENCE.few(4), only, **options)  # type: ignore[arg-type]


def test_signal_over_noise_and_drift_are_those_computed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = analysis(monkeypatch, {"a": 0.2}).measure(["a"])
    rows = REFERENCE.data.few_rows(4)
    assert item.sqnr_db == pytest.approx(10 * math.log10(MAPS[rows].var() / 0.04), abs=1e-3)
    assert item.score_drift == pytest.approx(0.2 / SCORES.std())


def test_the_noisiest_layer_comes_first_and_a_broken_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = analysis(monkeypatch, {"quiet": 0.01, "loud": 1.0, "none": 0.0, "broken": float("nan")})
    assert [item.layer for item in found.measure(["quiet", "none", "loud", "broken"])] == [
        "broken",
        "loud",
        "quiet",
        "none",
    ]


def test_what_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    known = [LayerSensitivity("a", 50.0, 0.1)]
    found = analysis(monkeypatch, {"b": 1.0}, known=known, listen=lambda done, total: told.append((done, total)))
    assert [item.layer for item in found.measure(["a", "b"])] == ["b", "a"]
    assert found.measure(["a"]) == known
    assert [item.layer for item in found.found] == ["b", "a"]
    assert told == [(1, 1)]
