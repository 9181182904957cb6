import numpy as np
import pytest

from benchmarks.backbone_noise import signal_to_noise


def test_noise_counts_by_direction_and_what_all_photos_share_does_not() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(400, 3, 2, 2)).astype(np.float32) * np.array([1, 10, 100], np.float32)[None, :, None, None]
    noise = rng.normal(size=exact.shape).astype(np.float32) * np.array([0.1, 1, 10], np.float32)[None, :, None, None]
    noise -= noise.mean(0)
    assert signal_to_noise(exact, exact + noise + 7) == pytest.approx(20, abs=2)  # a tenth in every direction
    assert signal_to_noise(exact, exact + noise * [[[[100]], [[0]], [[0]]]]) < 0  # all of it where the signal is small
