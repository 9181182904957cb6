"""The seven augmentations, and the textures that are rendered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from edge_ad.data.simulated_defects.augmentations import AUGMENTATIONS, augment
from edge_ad.data.simulated_defects.textures import FIELDS, rendered_texture


def _texture(seed: int = 0) -> NDArray[np.uint8]:
    """Muted colours with structure: room to change in every direction."""
    rng = np.random.default_rng(seed)
    smooth = np.linspace(60, 190, 40)[:, None, None] + np.array([0.0, 15.0, -20.0])
    return np.clip(smooth + rng.normal(0, 12, (40, 40, 3)), 0, 255).astype(np.uint8)


def test_there_are_the_seven_of_the_paper() -> None:
    named = {"posterize", "sharpness", "solarize", "equalize", "brightness", "colour", "auto-contrast"}
    assert set(AUGMENTATIONS) == named


@pytest.mark.parametrize("name", AUGMENTATIONS)
@hypothesis_settings(max_examples=15)
@given(image=arrays.arrays(np.uint8, (9, 13, 3)), seed=st.integers(0, 2**32))
def test_an_augmentation_keeps_dtype_and_shape_and_its_input(name: str, image: NDArray[np.uint8], seed: int) -> None:
    before = image.copy()
    changed = AUGMENTATIONS[name](image, np.random.default_rng(seed))
    assert (changed.dtype, changed.shape) == (np.uint8, image.shape)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_changes_the_picture_and_unlike_the_others(name: str) -> None:
    image = _texture()
    changed = [AUGMENTATIONS[name](image, np.random.default_rng(seed)) for seed in range(8)]
    assert all((picture != image).mean() > 0.2 for picture in changed)
    others = [AUGMENTATIONS[other](image, np.random.default_rng(0)) for other in AUGMENTATIONS if other != name]
    assert all(not np.array_equal(changed[0], other) for other in others)


def test_posterize_leaves_few_levels_and_solarize_inverts_the_bright_ones() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(10):
        assert len(np.unique(AUGMENTATIONS["posterize"](ramp, np.random.default_rng(seed)))) <= 16
        inverted = AUGMENTATIONS["solarize"](ramp, np.random.default_rng(seed))[0, :, 0]
        limit = int(np.flatnonzero(inverted != np.arange(256))[0])
        assert 32 <= limit <= 128
        assert np.array_equal(inverted[limit:], 255 - np.arange(limit, 256))


def test_auto_contrast_reaches_both_ends_and_equalize_is_flat() -> None:
    narrow = (100 + _texture() // 8).astype(np.uint8)
    stretched = AUGMENTATIONS["auto-contrast"](narrow, np.random.default_rng(0))
    assert (stretched.min(), stretched.max()) == (0, 255)
    flat = AUGMENTATIONS["equalize"](_texture(), np.random.default_rng(0))
    assert abs(float(np.median(flat)) - 127.5) < 12


def test_three_different_augmentations_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []

    def watch(name: str) -> object:
        return lambda image, rng: used.append(name) or image

    monkeypatch.setattr(
        "edge_ad.data.simulated_defects.augmentations.AUGMENTATIONS", {name: watch(name) for name in AUGMENTATIONS}
    )
    for seed in range(30):
        used.clear()
        augment(_texture(), np.random.default_rng(seed))
        assert len(used) == len(set(used)) == 3


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_structure_and_follows_from_its_seed(name: str) -> None:
    first, again, other = (FIELDS[name]((48, 56), np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first.shape, first.dtype) == ((48, 56), np.float32)
    assert np.isfinite(first).all()
    assert first.std() > 0
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rendered_textures_are_varied() -> None:
    textures = [rendered_texture((48, 48), np.random.default_rng(seed)) for seed in range(40)]
    assert all((texture.dtype, texture.shape) == (np.uint8, (48, 48, 3)) for texture in textures)
    assert all(texture.std() > 1 for texture in textures)
    colours = np.array([texture.mean((0, 1)) for texture in textures])
    assert colours.std(axis=0).min() > 20
