import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
from edge_ad.errors import UsageError


def photos(count, size_hw=(64, 64), seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size_hw[0], 0 : size_hw[1]].astype(np.float32)
    ramp = 90 + 60 * np.sin(x / 9) + 30 * np.cos(y / 7)
    noise = rng.normal(0, 8, (count, *size_hw, 3))
    return np.clip(ramp[None, ..., None] + noise, 0, 255).astype(np.uint8)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(32, 150),
    width=st.integers(32, 150),
    kind=st.sampled_from(sorted(KINDS)),
)
def test_outside_the_mask_nothing_is_touched_and_inside_it_shows(seed, height, width, kind):
    images = photos(2, (height, width), seed)
    before = images.copy()
    defective, masks = PseudoDefects(seed, kinds=[kind]).apply(images)
    np.testing.assert_array_equal(images, before)
    assert defective.shape == images.shape
    assert defective.dtype == np.uint8
    assert masks.shape == (2, height, width)
    assert masks.dtype == np.bool_
    np.testing.assert_array_equal(defective[~masks], images[~masks])
    for image, changed, mask in zip(images, defective, masks, strict=True):
        assert mask.any()
        assert np.abs(changed[mask].astype(int) - image[mask]).mean() > 1


def test_the_same_seed_gives_the_same_defects_and_another_gives_others():
    images = photos(6)
    first, masks = PseudoDefects(7).apply(images)
    again, masks_again = PseudoDefects(7).apply(images)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(masks, masks_again)
    assert (PseudoDefects(8).apply(images)[1] != masks).any()


def test_batches_give_what_one_call_gives():
    images = photos(6)
    whole, _ = PseudoDefects(7).apply(images)
    parts = [PseudoDefects(7).apply(images[i : i + 2], first_index=i)[0] for i in (0, 2, 4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_opacity_spans_subtle_to_plain():
    images = photos(80)
    defective, masks = PseudoDefects(1).apply(images)
    change = [np.abs(d[m].astype(int) - i[m]).mean() for d, i, m in zip(defective, images, masks, strict=True)]
    assert np.percentile(change, 15) < 20
    assert np.percentile(change, 85) > 35


def test_areas_stay_between_a_speck_and_a_twentieth_of_the_image():
    _, masks = PseudoDefects(2).apply(photos(60, (128, 128)))
    shares = masks.mean(axis=(1, 2))
    assert shares.min() > 0
    assert shares.max() < 0.08
    assert shares.max() > 3 * shares.min()


def test_photographed_textures_are_used(tmp_path, write_image):
    texture = write_image(tmp_path / "texture.png", 5, (80, 80, 3))
    images = photos(8)
    with_photo, _ = PseudoDefects(3, [texture], kinds=["perlin"]).apply(images)
    without, _ = PseudoDefects(3, kinds=["perlin"]).apply(images)
    assert (with_photo != without).any()


@pytest.mark.parametrize("level", [0, 255])
def test_even_a_saturated_image_gets_a_visible_defect(level):
    images = np.full((6, 64, 64, 3), level, np.uint8)
    defective, masks = PseudoDefects(0).apply(images)
    assert all(mask.any() for mask in masks)
    assert (defective != images).any(axis=(1, 2, 3)).all()


def test_wrong_images_and_kinds_are_refused():
    with pytest.raises(UsageError, match="uint8"):
        PseudoDefects(0).apply(photos(1).astype(np.float32))
    with pytest.raises(UsageError, match="32x32"):
        PseudoDefects(0).apply(photos(1, (16, 64)))
    with pytest.raises(UsageError, match="Unknown kinds"):
        PseudoDefects(0, kinds=["rust"])
