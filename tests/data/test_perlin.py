"""Perlin noise: zero on its lattice, smooth between, bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.data.simulated_defects.textures import fractal_noise, perlin_noise


@given(cells=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 1000))
def test_noise_is_bounded_and_zero_on_the_lattice(cells: tuple[int, int], seed: int) -> None:
    noise = perlin_noise((8 * cells[0], 8 * cells[1]), cells, np.random.default_rng(seed))
    assert noise.dtype == np.float32
    assert np.abs(noise).max() <= np.sqrt(0.5) + 1e-6
    assert noise[::8, ::8] == pytest.approx(0.0, abs=1e-6)


def test_noise_is_continuous_across_cells_of_any_size() -> None:
    noise = perlin_noise((100, 130), (3, 7), np.random.default_rng(0))
    assert np.abs(np.diff(noise, axis=0)).max() < 0.12
    assert np.abs(np.diff(noise, axis=1)).max() < 0.2


def test_octaves_add_detail() -> None:
    smooth, detailed = (fractal_noise((64, 64), (4, 4), np.random.default_rng(1), octaves=n) for n in (1, 3))
    assert np.abs(np.diff(detailed)).mean() > 1.3 * np.abs(np.diff(smooth)).mean()
    assert np.array_equal(smooth, perlin_noise((64, 64), (4, 4), np.random.default_rng(1)))
