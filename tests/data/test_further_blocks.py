"""Photos from further folders are in every block, as the line will show them from now on."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data.blocks import split_in_blocks


@pytest.fixture
def photos(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    rng, folders = np.random.default_rng(0), []
    for name, count in (("own", 40), ("later", 11)):
        (tmp_path / name).mkdir()
        paths = [tmp_path / name / f"{number}.png" for number in range(count)]
        for path in paths:
            cv2.imwrite(str(path), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        folders.append(paths)
    return folders[0], folders[1]


@pytest.mark.parametrize("seed", [0, 3])
def test_each_fold_has_its_share_of_them(photos: tuple[list[Path], list[Path]], seed: int) -> None:
    own, later = photos
    split = split_in_blocks([*own, *later], seed=seed, cross_fitted=True, further=later)
    assert sorted(path for fold in split.folds for path in fold) == sorted([*own, *later])
    assert [len(set(fold) & set(own)) for fold in split.folds] == [8] * 5
    assert sorted(len(set(fold) & set(later)) for fold in split.folds) == [2, 2, 2, 2, 3]
    assert split.folds[0] == (*split.calibrate, *split.threshold)
    alone = split_in_blocks(own, seed=seed, cross_fitted=True)
    assert [set(fold) & set(own) for fold in split.folds] == [set(fold) for fold in alone.folds]


def test_what_is_held_out_once_and_for_all_holds_its_share_of_them(photos: tuple[list[Path], list[Path]]) -> None:
    own, later = photos
    split = split_in_blocks([*own, *later], further=later)
    assert (len(set(split.fit) & set(later)), len(set(split.calibrate) & set(later))) == (8, 1)
    assert len(set(split.threshold) & set(later)) == 2
    assert not set(split.fit) & {*split.calibrate, *split.threshold}
