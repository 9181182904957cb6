"""Pseudo-defects lie on the part, in the part's colours, and depend on nothing but seed and index."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
from edge_ad.data.pseudo_defects.painter import draw_centre, foreground

PART = np.zeros((96, 96), np.bool_)
PART[32:64, 32:64] = True


@pytest.fixture(scope="module")
def parts() -> NDArray[np.uint8]:
    """Eight images, uint8 (8, 96, 96, 3), of a textured part on a flat background with a little noise."""
    rng = np.random.default_rng(7)
    images = rng.integers(180, 183, (8, 96, 96, 3), np.uint8)
    images[:, PART] = rng.integers(20, 236, (8, int(PART.sum()), 3), np.uint8)
    return images


def test_the_part_is_found_on_a_flat_background(parts: NDArray[np.uint8]) -> None:
    for image in parts:
        found = foreground(image)
        assert found[34:62, 34:62].all()
        assert found.mean() < 0.3


def test_a_plain_surface_inside_an_outline_belongs_to_the_part() -> None:
    image = np.full((96, 96, 3), 180, np.uint8)
    image[PART] = 90
    assert foreground(image)[34:62, 34:62].all()


def test_a_full_texture_and_an_empty_image_are_foreground_everywhere() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    assert foreground(texture).mean() > 0.95
    assert foreground(np.full((96, 96, 3), 90, np.uint8)).all()


def test_nine_of_ten_centres_lie_on_the_part() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([PART[draw_centre(PART, rng)] for _ in range(2000)]) == pytest.approx(0.9 + 0.1 / 9, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_most_defects_of_every_kind_overlap_the_part(parts: NDArray[np.uint8], kind: str) -> None:
    _, masks = PseudoDefects(5, kinds=[kind]).apply(np.tile(parts, (4, 1, 1, 1)))
    assert np.mean([(mask & PART).any() for mask in masks]) >= 0.7


@given(seed=st.integers(0, 10**6), index=st.integers(0, 100))
def test_the_other_images_of_a_batch_do_not_matter(parts: NDArray[np.uint8], seed: int, index: int) -> None:
    batch, masks = PseudoDefects(seed).apply(parts[:2], first_index=index)
    alone, mask = PseudoDefects(seed).apply(parts[1:2], first_index=index + 1)
    assert np.array_equal(batch[1], alone[0])
    assert np.array_equal(masks[1], mask[0])


def test_a_defect_on_a_grey_image_is_grey(parts: NDArray[np.uint8]) -> None:
    grey = np.repeat(parts[..., :1], 3, axis=3)
    defective, _ = PseudoDefects(3).apply(np.tile(grey, (5, 1, 1, 1)))
    assert np.ptp(defective, axis=3).max() <= 1  # rounding
