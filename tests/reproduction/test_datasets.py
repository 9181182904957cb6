"""How many photos the data sets have, and that a tree that has not is noticed."""

from pathlib import Path

import pytest

from edge_ad.errors import DataError
from edge_ad.reproduction.datasets import DATASETS, Counts, category_folder, count_photos, count_problem
from tests.reproduction.stand_ins import mvtec_like, visa_like


@pytest.mark.parametrize("key", ["mvtec", "visa", "mpdd"])
def test_the_categories_add_up_to_the_published_data_set(key: str) -> None:
    known = [counts for counts in DATASETS[key].categories.values() if counts is not None]
    assert sum(map(sum, known)) == DATASETS[key].photos
    assert count_problem(DATASETS[key], dict(zip(DATASETS[key].categories, known, strict=True))) == ""


def test_both_layouts_are_counted(tmp_path: Path) -> None:
    mvtec = mvtec_like(tmp_path / "mvtec", ("screw",))
    visa = visa_like(tmp_path / "visa", ("candle",))
    copied = mvtec_like(tmp_path / "visa-1cls" / "1cls", ("pcb1",))
    assert count_photos(category_folder(mvtec, "screw")) == Counts(9, 2, 2)
    assert count_photos(category_folder(visa, "candle")) == Counts(9, 2, 2)
    assert count_photos(category_folder(copied.parent, "pcb1")) == Counts(9, 2, 2)


def test_other_numbers_than_published_are_named() -> None:
    found = count_problem(DATASETS["mvtec"], {"screw": Counts(9, 2, 2), "wood": Counts(247, 19, 60)})
    assert "screw has 9 to train on, 2 good and 2 defective to test with, not 320" in found
    assert "wood" not in found


@pytest.mark.parametrize(("trained", "is_right"), [(915, True), (914, False)])
def test_of_wfdd_the_number_of_all_photos_is_known_alone(trained: int, is_right: bool) -> None:
    wfdd = DATASETS["wfdd"]
    counts = dict.fromkeys(wfdd.categories, Counts(914, 50, 61)) | {"pink_flower": Counts(trained, 50, 61)}
    assert ("4100 photos in all, not 4101" not in count_problem(wfdd, counts)) is is_right
    assert (count_problem(wfdd, counts) == "") is is_right
    assert count_problem(wfdd, {"grid_cloth": Counts(1, 1, 1)}) == ""  # the number of one category is not known


def test_a_category_that_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    mvtec_like(tmp_path, ("screw",))
    with pytest.raises(DataError, match=r"No folder wood.*It holds screw"):
        category_folder(tmp_path, "wood")
