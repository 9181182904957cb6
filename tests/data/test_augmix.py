"""Operations against Pillow's, and what a mix is made of."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from edge_ad.data.augmix import OPERATIONS, augmix, draw_level


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """A colour ramp with noise that leaves both ends of the range out, BGR."""
    rows, columns = np.mgrid[0:40, 0:50]
    ramp = np.stack([30 + 3 * columns, 200 - 2 * rows, 90 + rows + columns], axis=-1)
    return np.clip(ramp + np.random.default_rng(0).normal(0, 9, ramp.shape), 20, 240).astype(np.uint8)


@pytest.mark.parametrize("level", [0.05, 1.3, 3.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pillows(name: str, level: float, photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo[..., ::-1].copy())
    factor = level * 1.8 / 10 + 0.1
    expected = {
        "auto-contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, 4 - int(level * 4 / 10)),
        "solarize": lambda: ImageOps.solarize(image, 256 - int(level * 256 / 10)),
        "colour": lambda: ImageEnhance.Color(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
    }[name]()
    difference = OPERATIONS[name](photo, level).astype(int) - np.asarray(expected)[..., ::-1]
    assert np.abs(difference).max() <= (1 if name in ("colour", "sharpness") else 0)  # rounding of grey and blur
    assert (difference == 0).mean() > 0.97


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_photo_of_one_colour_stays_valid(name: str) -> None:
    flat = np.full((8, 8, 3), 77, np.uint8)
    found = OPERATIONS[name](flat, 1.0)
    assert found.dtype == np.uint8
    assert found.shape == flat.shape


def test_a_view_lies_between_the_photo_and_what_the_chains_make_of_it(photo: NDArray[np.uint8]) -> None:
    before = photo.copy()
    views = [augmix(photo, np.random.default_rng(seed)) for seed in range(40)]
    assert np.array_equal(photo, before)
    for view in views:
        assert view.dtype == np.float32
        assert view.min() >= 0
        assert view.max() <= 255.001
    assert np.mean([np.abs(view - photo).mean() for view in views]) > 5
    np.testing.assert_array_equal(views[3], augmix(photo, np.random.default_rng(3)))


def test_levels_are_even_up_to_the_severity() -> None:
    rng = np.random.default_rng(0)
    for severity, low, high in ((0, 0.0, 0.1), (1, 0.1, 1.0), (3, 0.1, 3.0)):
        levels = [draw_level(severity, rng) for _ in range(500)]
        assert low <= min(levels) < low + 0.05
        assert high - 0.05 < max(levels) <= high
