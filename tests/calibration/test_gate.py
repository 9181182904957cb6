from dataclasses import dataclass

import numpy as np
import pytest

from edge_ad.calibration.gate import GateLimits, judge
from edge_ad.calibration.gate import GateData, GateReference
from edge_ad.prediction import Prediction


@dataclass
class Brightness:
    """Anomaly = distance of the red channel from its usual level, plus noise of a given size."""

    noise: float = 0.0
    offset: float = 0.0

    def __call__(self, images: np.ndarray) -> list[Prediction]:
        rng = np.random.default_rng(int(images.sum()))
        maps = np.abs(images[..., 2] - 100.0) / 155 + self.offset + rng.normal(0, 1, images.shape[:3]) * self.noise
        return [Prediction(float(item.max()), item.astype(np.float32)) for item in maps]


@pytest.fixture(scope="module")
def reference() -> GateReference:
    rng = np.random.default_rng(0)
    good = np.clip(rng.normal(100, 3, (8, 48, 48, 3)), 0, 255).astype(np.uint8)
    return GateReference.of(GateData.of(good), Brightness())


def test_few_good_images_give_several_pseudo_defects_each(reference: GateReference) -> None:
    data = reference.data
    assert len(data.images) == 8 + 8 * 8
    np.testing.assert_array_equal(data.labels, [False] * 8 + [True] * 64)
    assert not np.array_equal(data.images[8], data.images[16])


def test_a_few_images_are_taken_evenly_from_good_and_defective_ones(reference: GateReference) -> None:
    few = reference.few(4)
    np.testing.assert_array_equal(few.data.images, reference.data.images[[0, 7, 8, 71]])
    np.testing.assert_array_equal(few.scores, reference.scores[[0, 7, 8, 71]])
    assert few.spread == reference.spread


def test_the_reference_itself_passes_without_any_loss(reference: GateReference) -> None:
    report = judge(reference, Brightness(), GateLimits(), quantised_layers=3, float_layers=["a"])
    assert report.passed
    assert report.checks["image_auroc_drop"] == report.checks["pixel_auroc_drop"] == report.checks["pro_drop"] == 0.0
    assert report.checks["map_correlation"] == pytest.approx(1.0)
    assert (report.quantised_layers, report.float_layers) == (3, ["a"])


def test_noise_fails_by_the_checks_that_see_it(reference: GateReference) -> None:
    report = judge(reference, Brightness(noise=0.3), GateLimits(), quantised_layers=1)
    assert not report.passed
    assert report.checks["pixel_auroc_drop"] > report.limits["pixel_auroc_drop"]
    assert report.checks["map_correlation"] < report.limits["map_correlation"]


def test_an_offset_is_drift_and_nothing_else(reference: GateReference) -> None:
    report = judge(reference, Brightness(offset=1.0), GateLimits(), quantised_layers=1)
    assert not report.passed
    assert report.checks["score_drift"] > report.limits["score_drift"]
    assert report.checks["image_auroc_drop"] == pytest.approx(0.0, abs=1e-9)


def test_a_defect_that_is_no_longer_found_fails_by_pro(reference: GateReference) -> None:
    large = [mask.sum() for mask in reference.data.masks]
    smallest = int(np.argmin([size or 1e9 for size in large]))
    plain = Brightness()

    def blind(images: np.ndarray) -> list[Prediction]:
        found = plain(images)
        if np.array_equal(images[0], reference.data.images[smallest]):
            return [Prediction(found[0].score, -found[0].anomaly_map)]
        return found

    report = judge(reference, blind, GateLimits(pro_drop=0.001))
    assert not report.passed
    # The region counts as much as any other, however few of all pixels it has.
    assert report.checks["pro_drop"] > 5 * report.checks["pixel_auroc_drop"]


def test_the_limits_follow_one_number() -> None:
    assert GateLimits.of_drop(0.002) == GateLimits()
    wide = GateLimits.of_drop(0.01)
    assert (wide.image_auroc_drop, wide.pixel_auroc_drop, wide.pro_drop) == (0.01, 0.01, 0.025)


def test_an_engine_that_gives_nan_fails(reference: GateReference) -> None:
    def broken(images: np.ndarray) -> list[Prediction]:
        return [Prediction(float("nan"), np.full((48, 48), np.nan, np.float32)) for _ in images]

    assert not judge(reference, broken, GateLimits(), quantised_layers=1).passed
