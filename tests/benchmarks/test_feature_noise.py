import numpy as np
import pytest

from benchmarks.feature_noise import NoiseOnPhotos, Whitened


def test_noise_counts_by_direction() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(400, 3, 2, 2)).astype(np.float32) * np.array([1, 10, 100], np.float32)[None, :, None, None]
    noise = rng.normal(size=exact.shape).astype(np.float32) * np.array([0.1, 1, 10], np.float32)[None, :, None, None]
    space = Whitened(exact)
    assert space.decibels(noise) == pytest.approx(20, abs=2)  # a tenth in every direction
    assert space.decibels(noise * [[[[100]], [[0]], [[0]]]]) < 0  # all of it where the signal is small


def test_what_all_photos_share_is_no_noise_and_that_under_defects_counts_apart() -> None:
    rng = np.random.default_rng(1)
    good = rng.integers(100, 140, (40, 64, 64, 3), np.uint8)

    def exact(photos: np.ndarray) -> np.ndarray:
        tiles = photos.reshape(len(photos), 8, 8, 8, 8, 3).astype(np.float32)
        return tiles.mean((2, 4)).transpose(0, 3, 1, 2)

    noise = rng.normal(scale=0.05, size=(40, 3, 8, 8)).astype(np.float32)
    compared = NoiseOnPhotos(good, exact)
    same, under = compared.decibels(lambda photos: exact(photos) + noise + 7)
    assert same == pytest.approx(under, abs=1.5)
    clipped = compared.decibels(lambda photos: np.clip(exact(photos), 110, 130) + noise + 7)
    assert clipped[0] == pytest.approx(same)
    assert clipped[1] < under - 10
