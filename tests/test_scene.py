"""What a picture measures, and what limits a set of photos gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading, changes_in_words, measure_scene


def _part(seed: int) -> NDArray[np.uint8]:
    """A rectangle on a brighter ground with a gentle ramp, and two grey levels of noise."""
    rng = np.random.default_rng(seed)
    picture = np.full((128, 128, 3), (120, 130, 140), np.float64) + np.linspace(-10, 10, 128)[None, :, None]
    x, y = rng.integers(20, 40, 2)
    picture[y : y + 60, x : x + 60] -= 60
    return _grey_levels(picture + rng.normal(0, 2, (128, 128, 1)))


def _grey_levels(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def limits() -> SceneLimits:
    found = SceneLimits.of(measure_scene(_part(seed)) for seed in range(20))
    assert found is not None
    return found


def test_a_flat_picture_measures_what_it_was_made_of() -> None:
    found = measure_scene(np.full((64, 64, 3), (50, 100, 200), np.uint8))
    grey = round(0.114 * 50 + 0.587 * 100 + 0.299 * 200)
    assert found == SceneMeasures(float(grey), 0.0, 0.0, 0.0, 2.0, 0.5)


def test_contrast_is_the_deviation_over_the_mean() -> None:
    halves = np.full((64, 64, 3), 60, np.uint8)
    halves[:, 32:] = 180
    assert measure_scene(halves).contrast == pytest.approx(60 / 120)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_noise_is_found_under_an_edge_and_a_ramp(sigma: float) -> None:
    clean = np.full((256, 256, 3), 100.0) + np.linspace(0, 40, 256)[None, :, None]
    clean[:, 128:] += 50
    noisy = _grey_levels(clean + np.random.default_rng(0).normal(0, sigma, (256, 256, 1)))
    assert measure_scene(noisy).noise == pytest.approx(sigma, rel=0.08, abs=0.1)


def test_noise_and_gain_are_not_taken_for_sharpness() -> None:
    clean = _part(0)
    plain = measure_scene(clean).sharpness
    noisy = _grey_levels(clean + np.random.default_rng(1).normal(0, 3, (128, 128, 1)))
    assert measure_scene(noisy).sharpness == pytest.approx(plain, rel=0.25)
    assert measure_scene(_grey_levels(clean * 0.7)).sharpness == pytest.approx(plain, rel=0.1)
    assert measure_scene(np.asarray(cv2.GaussianBlur(clean, (0, 0), 1.5), np.uint8)).sharpness < 0.5 * plain


@pytest.mark.parametrize("height", [8, 9, 31])
def test_a_small_picture_can_be_measured(height: int) -> None:
    rng = np.random.default_rng(0)
    found = measure_scene(rng.integers(0, 256, (height, height + 3, 3), dtype=np.uint8))
    assert np.isfinite(found).all()


def test_photos_of_the_same_scene_are_inside(limits: SceneLimits) -> None:
    readings = [SceneReading(measure_scene(_part(seed)), limits) for seed in range(100, 120)]
    assert sum(bool(reading.changed()) for reading in readings) <= 1


@pytest.mark.parametrize(
    ("change", "names", "words"),
    [
        (lambda image: image * 0.7, {"brightness"}, "darker by 30 %"),
        (lambda image: image * 1.25, {"brightness"}, "brighter by 25 %"),
        (lambda image: image * np.array([1, 1, 1.15]), {"red"}, "redder by 15 %"),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 2), {"sharpness", "noise"}, "less sharp by "),
        (lambda image: image + np.random.default_rng(2).normal(0, 6, (128, 128, 1)), {"noise"}, "more noise ("),
    ],
)
def test_a_change_is_named_by_its_kind_and_size(
    change: object, names: set[str], words: str, limits: SceneLimits
) -> None:
    assert callable(change)
    readings = [SceneReading(measure_scene(_grey_levels(change(_part(seed)))), limits) for seed in range(30, 45)]
    middle = SceneMeasures(*np.median([reading.measures for reading in readings], axis=0).tolist())
    reading = SceneReading(middle, limits)
    assert names <= set(reading.changed())
    assert words in changes_in_words(reading, reading.changed())


def test_limits_hold_the_photos_and_a_change_nobody_needs_to_hear_of() -> None:
    still = SceneLimits.of([SceneMeasures(100, 0.5, 0.2, 1.0, 1.0, 1.0)] * 8)
    assert still is not None
    assert (still.ranges["brightness"].low, still.ranges["brightness"].high) == pytest.approx((92, 108))
    assert (still.ranges["noise"].low, still.ranges["noise"].high) == pytest.approx((0.5, 1.5))
    spread = SceneLimits.of([SceneMeasures(value, 0.5, 0.2, 1.0, 1.0, 1.0) for value in range(50, 151)])
    assert spread is not None
    assert spread.ranges["brightness"].high == pytest.approx(100 + 4 * 1.4826 * 25)


def test_too_few_photos_give_no_limits_and_damaged_ones_are_refused() -> None:
    assert SceneLimits.of([SceneMeasures(100, 0.5, 0.2, 1.0, 1.0, 1.0)] * 7) is None
    good = {"centre": 1.0, "low": 0.5, "high": 2.0}
    ranges = dict.fromkeys(SceneMeasures._fields, good)
    SceneLimits.model_validate({"photos": 8, "ranges": ranges})
    with pytest.raises(ValidationError, match="order"):
        SceneLimits.model_validate({"photos": 8, "ranges": {**ranges, "noise": {**good, "low": 1.5}}})
    with pytest.raises(ValidationError, match="other measures"):
        SceneLimits.model_validate({"photos": 8, "ranges": {"noise": good}})
