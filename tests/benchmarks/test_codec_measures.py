"""Measures of a codec: higher for what was compressed, and the same for every place of the picture."""

import numpy as np
import pytest

from benchmarks.codec_measures import blockiness, flat_share, middle
from edge_ad.data import line_shifts


def test_compression_is_seen_by_both_measures_and_noise_by_neither() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (300, 400, 3))
    photo = np.clip(120 + 40 * np.sin(np.arange(400) / 30)[None, :, None] + noise, 0, 255).astype(np.uint8)
    compressed = line_shifts.jpeg(photo, 50)
    assert flat_share(middle(compressed)) > 3 * flat_share(middle(photo))
    assert blockiness(middle(compressed)) > 1.5 * blockiness(middle(photo))
    assert blockiness(middle(photo)) == pytest.approx(1, abs=0.1)


def test_the_middle_is_cut_where_blocks_begin() -> None:
    photo = np.zeros((300, 420, 3), np.uint8)
    photo[16:272, 80:336] = 255
    assert middle(photo).shape == (256, 256)
    assert middle(photo).min() == 255
    assert middle(photo[:40, :30]).shape == (40, 30)
