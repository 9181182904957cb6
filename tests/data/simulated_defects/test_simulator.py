"""DRAEM's simulation: where it paints, what it leaves alone, and that a key determines it."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.data.simulated_defects import DefectSimulator, Opacity, texture_photos
from edge_ad.data.simulated_defects.simulator import draw_opacity, is_grey, perlin_mask
from edge_ad.errors import DataError


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """A grey ramp with noise, 48 × 64."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, 64)[None, :, None] + rng.uniform(-10, 10, (48, 64, 3))
    return ramp.astype(np.uint8)


@hypothesis_settings(max_examples=40)
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 1000), index=st.integers(0, 10_000), turned=st.booleans())
def test_a_defect_is_inside_its_mask_and_nowhere_else(
    image: NDArray[np.uint8], seed: int, epoch: int, index: int, turned: bool
) -> None:
    before = image.copy()
    simulator = DefectSimulator(seed, rotation=20.0 if turned else 0.0)
    sample = simulator.sample(image, (0, epoch, index))
    assert np.array_equal(image, before)
    assert sample.mask.dtype == np.bool_
    assert sample.mask.shape == image.shape[:2]
    assert (sample.good.dtype, sample.defective.dtype) == (np.uint8, np.uint8)
    assert np.array_equal(sample.defective[~sample.mask], sample.good[~sample.mask])
    assert turned or np.array_equal(sample.good, image)
    if not sample.mask.any():
        assert np.array_equal(sample.defective, sample.good)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_share_of_clean_samples_is_within_its_binomial_bound(share: float) -> None:
    draws, image = 300, np.zeros((32, 32, 3), np.uint8)
    simulator = DefectSimulator(3, clean_share=share)
    clean = sum(not simulator.sample(image, (0, 0, index)).mask.any() for index in range(draws))
    bound = 4 * np.sqrt(draws * share * (1 - share))  # one in sixteen thousand is farther away
    assert abs(clean - draws * share) <= bound


@hypothesis_settings(max_examples=40)
@given(seed=st.integers(0, 2**32), height=st.integers(32, 80), width=st.integers(32, 80))
def test_a_perlin_mask_is_binary_and_neither_empty_nor_everything(seed: int, height: int, width: int) -> None:
    mask = perlin_mask((height, width), np.random.default_rng(seed))
    assert mask.shape == (height, width)
    assert mask.dtype == np.bool_
    assert 0 < mask.sum() < mask.size


@pytest.mark.parametrize(("opacity", "least", "mean"), [("slide", 0.1, 0.55), ("code", 0.2, 0.6)])
def test_opacity_fills_the_range_of_its_source(opacity: Opacity, least: float, mean: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_opacity(opacity, rng) for _ in range(4000)])
    assert least <= drawn.min() < least + 0.01
    assert 0.99 < drawn.max() <= 1.0
    assert drawn.mean() == pytest.approx(mean, abs=0.02)


def test_pixels_are_blended_by_one_opacity_in_its_range(tmp_path: Path) -> None:
    """On black with white textures the pixel is the opacity, as nothing brightens white and darkens black."""
    black = np.zeros((64, 64, 3), np.uint8)
    simulator = DefectSimulator(0, opacity="slide", clean_share=0.0)
    for index in range(20):
        sample = simulator.sample(black, (0, 0, index))
        assert sample.defective[~sample.mask].max() == 0
    levels = [simulator.sample(black, (0, 0, index)).defective.max() for index in range(40)]
    assert len(set(levels)) > 10  # opacities differ from sample to sample


def test_the_key_determines_a_sample_and_another_key_gives_another(image: NDArray[np.uint8]) -> None:
    simulator = DefectSimulator(7, clean_share=0.0)
    copy = pickle.loads(pickle.dumps(simulator))
    first = simulator.sample(image, (0, 4, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, copy.sample(image, (0, 4, 2)), strict=True))
    for key in ((0, 5, 2), (0, 4, 3), (1, 4, 2)):
        assert not np.array_equal(first.mask, simulator.sample(image, key).mask)
    assert not np.array_equal(first.mask, DefectSimulator(8, clean_share=0.0).sample(image, (0, 4, 2)).mask)


def test_photographs_are_what_defects_are_painted_with(image: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    flat = np.full((80, 90, 3), (0, 0, 255), np.uint8)
    cv2.imwrite(str(tmp_path / "inner" / "red.png"), flat)
    photos = texture_photos(tmp_path)
    assert [path.name for path in photos] == ["red.png"]
    sample = DefectSimulator(0, photos, clean_share=0.0).sample(image, (0, 0, 0))
    change = sample.defective[sample.mask].astype(int) - sample.good[sample.mask]
    rendered = DefectSimulator(0, clean_share=0.0).sample(image, (0, 0, 0))
    rendered_change = rendered.defective[rendered.mask].astype(int) - rendered.good[rendered.mask]
    texture = change + (1 - 0.2) * sample.good[sample.mask]  # a flat colour adds no structure of its own
    assert texture.std(axis=0).max() < 60
    assert not np.array_equal(change[:10], rendered_change[:10])


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"):
        texture_photos(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        texture_photos(tmp_path / "missing")


@pytest.mark.parametrize("turned", [0.0, 20.0])
def test_a_grey_image_gets_grey_defects_and_a_coloured_one_coloured_ones(
    image: NDArray[np.uint8], turned: float
) -> None:
    simulator = DefectSimulator(1, clean_share=0.0, rotation=turned)
    grey = np.ascontiguousarray(np.repeat(image[..., :1], 3, axis=-1))
    samples = [simulator.sample(grey, (0, 0, index)) for index in range(10)]
    assert all(is_grey(sample.defective) for sample in samples)
    assert all((sample.defective != sample.good).any() for sample in samples)
    coloured = simulator.sample(image, (0, 0, 0))
    assert np.array_equal(coloured.mask, samples[0].mask)
    assert not is_grey(coloured.defective)
