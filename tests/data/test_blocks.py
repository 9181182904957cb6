"""Blocks of photos in the order of their names, with what shows the same thing together."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from edge_ad.data.blocks import natural_order, split_in_blocks
from edge_ad.data.near_duplicates import near_duplicate_groups
from edge_ad.errors import DataError


def picture(seed):
    """Smooth patterns: another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


def with_noise(image, seed, levels=3):
    noise = np.random.default_rng(seed).integers(-levels, levels + 1, image.shape)
    return np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """40 photos, ``0.png`` to ``39.png``, in their order."""
    paths = [tmp_path / f"{index}.png" for index in range(40)]
    for index, path in enumerate(paths):
        assert cv2.imwrite(str(path), picture(index))
    return paths


def test_names_sort_as_people_count(photos):
    assert sorted(map(str, photos))[1:3] == [str(photos[1]), str(photos[10])]
    assert sorted(photos, key=natural_order) == photos


@pytest.mark.parametrize("seed", range(6))
def test_folds_are_contiguous_blocks_of_the_order(photos, seed):
    split = split_in_blocks(photos, seed=seed, cross_fitted=True)
    assert sorted((path for fold in split.folds for path in fold), key=natural_order) == photos
    assert [len(fold) for fold in split.folds] == [8] * 5
    for fold in split.folds:
        places = [photos.index(path) for path in fold]
        assert all(after == before + 1 for before, after in pairwise(places))


def test_the_first_fold_is_held_out_and_the_others_are_fitted_on(photos):
    split = split_in_blocks(photos, cross_fitted=True)
    assert split.folds[0] == (*split.calibrate, *split.threshold) == tuple(photos[32:])
    assert split.fit == tuple(path for fold in (*split.folds[1:], split.folds[0]) for path in fold)
    assert split.is_fitted_on_all
    assert len(split.calibrate) == len(split.threshold) == 4


def test_another_seed_holds_out_another_block(photos):
    held_out = {split_in_blocks(photos, seed=seed, cross_fitted=True).folds[0] for seed in range(5)}
    assert len(held_out) == 5


@pytest.mark.parametrize("cross_fitted", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_are_never_on_both_sides(photos, tmp_path, cross_fitted, seed):
    again = [tmp_path / f"{100 + index}.png" for index in range(0, 40, 4)]  # at the other end of the order
    for index, path in zip(range(0, 40, 4), again, strict=True):
        assert cv2.imwrite(str(path), with_noise(picture(index), index))
    split = split_in_blocks([*photos, *again], seed=seed, cross_fitted=cross_fitted)
    assert set(split.duplicates) == {(photos[index], tmp_path / f"{100 + index}.png") for index in range(0, 40, 4)}
    parts = split.folds or (split.fit, split.calibrate, split.threshold)
    for group in split.duplicates:
        assert sum(bool(set(group) & set(part)) for part in parts) == 1


def test_a_network_keeps_one_block_that_is_held_out(photos):
    split = split_in_blocks(photos)
    assert split.folds == ()
    assert split.fit == tuple(photos[:28])
    assert split.calibrate == tuple(photos[28:34])
    assert split.threshold == tuple(photos[34:])


def test_listing_order_does_not_matter(photos):
    assert split_in_blocks(photos[::-1], cross_fitted=True) == split_in_blocks(photos, cross_fitted=True)


@pytest.mark.parametrize("count", range(8, 21))
@pytest.mark.parametrize("cross_fitted", [True, False])
def test_few_photos_leave_two_in_each_part(photos, count, cross_fitted):
    split = split_in_blocks(photos[:count], cross_fitted=cross_fitted)
    assert min(len(split.fit), len(split.calibrate), len(split.threshold)) >= 2
    assert len({*split.fit, *split.calibrate, *split.threshold}) == count


def test_copies_count_once_and_too_few_different_photos_are_refused(photos, tmp_path):
    for index in range(20):
        (tmp_path / f"copy-{index}.png").write_bytes(photos[0].read_bytes())
    with pytest.raises(DataError, match="7 different good images are too few"):
        split_in_blocks([*photos[:7], *tmp_path.glob("copy-*.png")])


def test_photos_that_all_show_the_same_thing_can_still_be_split(tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(12)]
    for index, path in enumerate(paths):
        assert cv2.imwrite(str(path), with_noise(picture(index // 6), index, 1))
    split = split_in_blocks(paths, cross_fitted=True)
    assert len({*split.fit, *split.calibrate, *split.threshold}) == 12


def test_groups_are_found_through_noise_and_another_exposure():
    first, second = picture(0), picture(1)
    brighter = np.clip(first.astype(int) + 5, 0, 255).astype(np.uint8)
    images = np.stack([first, second, with_noise(first, 9), *(picture(seed) for seed in range(2, 9)), brighter, second])
    assert near_duplicate_groups(images).tolist() == [0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 0, 1]


def test_what_is_near_to_either_is_in_one_group_in_any_order():
    ends = picture(0).astype(float), picture(1).astype(float)
    chain = [np.rint(ends[0] + (ends[1] - ends[0]) * step / 160).astype(np.uint8) for step in range(161)]
    images = np.stack([*chain, *(picture(seed) for seed in range(2, 30))])
    order = np.random.default_rng(0).permutation(len(images))
    groups = near_duplicate_groups(images[order])
    assert len(set(groups[order < 161])) == 1
    assert len(set(groups)) == 29
    apart = near_duplicate_groups(images[[0, 160, *range(161, 189)]])
    assert len(set(apart)) == 30  # the ends are not near each other


@pytest.mark.parametrize("deviation", [1, 9])
def test_frames_of_one_part_under_a_still_camera_are_the_same_thing_though_there_is_nothing_else(deviation):
    images = np.stack([with_noise(picture(0), seed, deviation) for seed in range(10)])
    assert near_duplicate_groups(images).tolist() == [0] * 10


def test_parts_that_differ_by_more_than_noise_are_different_however_alike_they_are():
    part = picture(0).astype(float)
    scratched = [part.copy() for _ in range(10)]
    for index, image in enumerate(scratched):
        image[6 * index : 6 * index + 3, 20:40] += 25
    images = np.stack([with_noise(np.clip(image, 0, 255), seed, 3) for seed, image in enumerate(scratched)])
    assert near_duplicate_groups(images).tolist() == list(range(10))


def test_parts_with_nothing_but_a_texture_are_different():
    plain = np.full((64, 64, 3), 120, np.uint8)
    images = np.stack([with_noise(plain, seed, 20) for seed in range(10)])
    assert near_duplicate_groups(images).tolist() == list(range(10))


@pytest.mark.parametrize("cross_fitted", [True, False])
def test_a_few_bursts_count_as_what_they_show_though_they_are_split(tmp_path, cross_fitted):
    paths = [tmp_path / f"{index}.png" for index in range(20)]
    for index, path in enumerate(paths):
        assert cv2.imwrite(str(path), with_noise(picture(index // 5), index))
    split = split_in_blocks(paths, cross_fitted=cross_fitted)
    assert sorted(split.duplicates) == sorted(tuple(paths[start : start + 5]) for start in range(0, 20, 5))
    assert {*split.fit, *split.calibrate, *split.threshold} == set(paths)


@pytest.mark.parametrize(("count", "folds"), [(1, 1), (2, 2), (5, 5), (7, 5)])
def test_where_few_are_enough_they_are_left_out_one_by_one(photos, count, folds):
    split = split_in_blocks(photos[:count], cross_fitted=True, fewest=1)
    assert len(split.folds) == folds
    assert max(map(len, split.folds)) <= 2
    assert sorted(split.fit) == sorted(photos[:count])
    assert split.folds[0] == (*split.calibrate, *split.threshold)
    with pytest.raises(DataError, match="at least 8 are needed"):
        split_in_blocks(photos[:count], cross_fitted=True)
