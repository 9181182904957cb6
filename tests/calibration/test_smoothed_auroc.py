import numpy as np
import pytest

from edge_ad.calibration.gate import smoothed_auroc
from edge_ad.evaluation.metrics import image_auroc

RNG = np.random.default_rng(0)
LABELS = np.arange(80) >= 16
SCORES = np.where(LABELS, RNG.normal(1.5, 1, 80), RNG.normal(0, 1, 80))


def test_two_pairs_computed_by_hand() -> None:
    labels, scores = np.array([False, True, True]), np.array([0.0, 1.0, -0.5])
    width = 0.1 * scores.std()
    expected = (2 + np.tanh(1 / width) + np.tanh(-0.5 / width)) / 4
    assert smoothed_auroc(labels, scores) == pytest.approx(expected)


def test_it_is_near_auroc() -> None:
    assert smoothed_auroc(LABELS, SCORES) == pytest.approx(image_auroc(LABELS, SCORES), abs=0.01)


def test_neither_offset_nor_scale_matters() -> None:
    assert smoothed_auroc(LABELS, 7 * SCORES - 3) == pytest.approx(smoothed_auroc(LABELS, SCORES), abs=1e-12)


def test_equal_scores_are_chance() -> None:
    assert smoothed_auroc(LABELS, np.ones(80)) == 0.5


def test_rounding_moves_it_several_times_less_than_auroc() -> None:
    def moved(measure: object) -> float:
        rng = np.random.default_rng(1)
        changed = [SCORES + rng.normal(0, 0.01, 80) for _ in range(200)]
        return float(np.std([measure(LABELS, item) for item in changed]))  # type: ignore[operator]

    assert moved(smoothed_auroc) < moved(image_auroc) / 2


def test_a_real_loss_is_seen_in_full() -> None:
    worse = np.where(LABELS, SCORES - 0.5, SCORES)
    lost = image_auroc(LABELS, SCORES) - image_auroc(LABELS, worse)
    assert smoothed_auroc(LABELS, SCORES) - smoothed_auroc(LABELS, worse) == pytest.approx(lost, rel=0.15)
