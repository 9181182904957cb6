import random
import shutil

import pytest

from edge_ad.data.splits import content_hash, split_good
from edge_ad.errors import DataError, UsageError


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{index:03d}.png" for index in range(40)]
    for index, path in enumerate(paths):
        path.write_bytes(f"content {index}".encode())
    return paths


def parts(split):
    return split.fit, split.calibrate, split.threshold


def test_the_parts_are_disjoint_and_complete_in_the_asked_shares(files):
    split = split_good(files)
    assert [len(part) for part in parts(split)] == [28, 6, 6]
    assert sorted(path for part in parts(split) for path in part) == files


def test_listing_order_does_not_matter(files):
    shuffled = random.Random(3).sample(files, len(files))
    assert split_good(shuffled) == split_good(files)


def test_names_and_folders_do_not_matter(files, tmp_path):
    split = split_good(files)
    for index, path in enumerate(reversed(files)):
        (tmp_path / "moved").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "moved" / f"other-{index}.png")
    moved = split_good(sorted((tmp_path / "moved").iterdir()))
    for before, after in zip(parts(split), parts(moved), strict=True):
        assert {content_hash(path) for path in before} == {content_hash(path) for path in after}


def test_another_seed_gives_another_split(files):
    assert set(split_good(files, seed=0).threshold) != set(split_good(files, seed=1).threshold)


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_stay_in_one_part(files, tmp_path, seed):
    for index in range(0, 40, 3):
        shutil.copy(files[index], tmp_path / f"copy-{index}.png")
    split = split_good(sorted(tmp_path.glob("*.png")), seed=seed)
    contents = [{path.read_bytes() for path in part} for part in parts(split)]
    assert sum(map(len, contents)) == len(set.union(*contents)) == 40
    assert sum(len(part) for part in parts(split)) == 54


@pytest.mark.parametrize("count", range(8, 20))
def test_small_sets_keep_two_images_in_each_part(files, count):
    assert min(len(part) for part in parts(split_good(files[:count]))) >= 2


def test_too_few_different_images_are_refused(files, tmp_path):
    with pytest.raises(DataError, match="7 different good images are too few"):
        split_good(files[:7])
    copies = [shutil.copy(files[0], tmp_path / f"copy-{index}.png") for index in range(20)]
    with pytest.raises(DataError, match="1 different"):
        split_good(copies)


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (0.8, 0.3, -0.1)])
def test_wrong_fractions_are_refused(files, fractions):
    with pytest.raises(UsageError, match="fractions"):
        split_good(files, fractions=fractions)


def test_a_file_that_vanished_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        content_hash(tmp_path / "gone.png")
