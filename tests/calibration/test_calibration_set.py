import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.calibration.calibration_set import FEWEST_IMAGES, calibration_set
from edge_ad.data.products import open_product
from edge_ad.data.splits import GoodSplit, split_good
from edge_ad.errors import DataError

SIZE_HW = (32, 32)


def write(path: Path, seed: int, size_hw: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (*size_hw, 3), np.uint8)
    assert cv2.imwrite(str(path), image)
    return path


@dataclass
class Place:
    root: Path
    split: GoodSplit
    folder: Path

    def choose(self, folder: Path | None = None) -> list[Path]:
        return list(calibration_set(self.split, self.root, SIZE_HW, folder).paths)

    def refusal(self, folder: Path | None) -> str:
        with pytest.raises(DataError) as caught:
            self.choose(folder)
        assert "\n" not in caught.value.message
        assert caught.value.hint
        assert caught.value.exit_code == 2
        return caught.value.message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A product of 20 photos of 60 by 40 pixels with a test set, and an empty folder of the user's own."""
    root = tmp_path / "product"
    good = [write(root / "train" / "good" / f"{index:02d}.png", index) for index in range(20)]
    for index in range(3):
        write(root / "test" / "good" / f"{index}.png", 100 + index)
        write(root / "test" / "scratch" / f"{index}.png", 200 + index)
    (tmp_path / "own").mkdir()
    return Place(root, split_good(good), tmp_path / "own")


def fill(folder: Path, count: int) -> None:
    for index in range(count):
        write(folder / f"{index:02d}.png", 1000 + index)


def test_a_small_part_of_the_split_is_filled_up_from_what_was_fitted_on(place: Place) -> None:
    chosen = place.choose()
    own = len(place.split.calibrate)
    assert own < FEWEST_IMAGES == len(chosen)
    assert set(chosen[:own]) == set(place.split.calibrate)
    assert set(chosen[own:]) <= set(place.split.fit)
    assert not set(chosen) & set(place.split.threshold)


def test_a_part_of_the_split_that_is_large_enough_is_taken_as_it_is(place: Place) -> None:
    split = split_good([write(place.root / "more" / f"{index}.png", 300 + index) for index in range(60)])
    assert set(calibration_set(split, place.root, SIZE_HW).paths) == set(split.calibrate)


@pytest.mark.parametrize("part", ["calibrate", "threshold"])
def test_a_test_image_in_a_held_out_part_is_refused(place: Place, part: str) -> None:
    copied = getattr(place.split, part)[0]
    shutil.copy(copied, place.root / "test" / "good" / "under_another_name.png")
    assert f"is also a test image: {copied.name}" in place.refusal(None)


def test_a_test_image_among_the_fitted_ones_does_not_fill_up(place: Place) -> None:
    for path in place.split.fit:
        shutil.copy(path, place.root / "test" / "good" / f"copy_{path.name}")
    assert set(place.choose()) == set(place.split.calibrate)


def test_three_images_are_too_few(place: Place) -> None:
    fill(place.folder, 3)
    assert "holds 3 different images to calibrate on; at least 8 are needed" in place.refusal(place.folder)


def test_eight_are_enough_and_what_is_in_the_folder_twice_counts_once(place: Place) -> None:
    fill(place.folder, 7)
    shutil.copy(place.folder / "00.png", place.folder / "again.png")
    assert "7 different images to calibrate on (1 twice in it)" in place.refusal(place.folder)
    write(place.folder / "eighth.png", 5000)
    assert len(place.choose(place.folder)) == 8


def test_images_that_set_the_threshold_are_left_out(place: Place) -> None:
    chosen = place.choose(place.root / "train" / "good")
    assert set(chosen) == {*place.split.fit, *place.split.calibrate}


def test_a_test_image_is_found_by_its_content_whatever_its_name(place: Place) -> None:
    fill(place.folder, 9)
    shutil.copy(place.root / "test" / "scratch" / "1.png", place.folder / "holiday.png")
    message = place.refusal(place.folder)
    assert "1 of the 10 images" in message
    assert "holiday.png" in message


@pytest.mark.parametrize("size_hw", [(60, 40), (40, 40), (40, 66)])
def test_another_aspect_ratio_than_the_products_is_refused(place: Place, size_hw: tuple[int, int]) -> None:
    fill(place.folder, 9)
    write(place.folder / "odd.png", 7, size_hw)
    message = place.refusal(place.folder)
    assert f"odd.png ({size_hw[1]} x {size_hw[0]})" in message
    assert "width over height 1.50" in message


def test_another_resolution_and_a_ratio_within_5_percent_are_taken(place: Place) -> None:
    fill(place.folder, 9)
    write(place.folder / "large.png", 7, (160, 240))
    write(place.folder / "nearly.png", 8, (40, 62))
    assert len(place.choose(place.folder)) == 11


def test_images_that_would_have_to_be_blown_up_are_refused(place: Place) -> None:
    fill(place.folder, 9)
    write(place.folder / "icon.png", 7, (10, 15))
    assert "too small (a side below 16 pixels): icon.png (15 x 10)" in place.refusal(place.folder)


def test_a_folder_that_is_not_there_or_has_an_unreadable_file_is_refused(place: Place) -> None:
    assert "No such folder" in place.refusal(place.folder / "gone")
    fill(place.folder, 9)
    (place.folder / "broken.png").write_bytes(b"not an image")
    assert "broken.png" in place.refusal(place.folder)


def test_the_identity_depends_on_the_contents_alone(place: Place, tmp_path: Path) -> None:
    fill(place.folder, 9)
    other = tmp_path / "other"
    other.mkdir()
    for index, path in enumerate(sorted(place.folder.iterdir(), reverse=True)):
        shutil.copy(path, other / f"{index}.png")
    first = calibration_set(place.split, place.root, SIZE_HW, place.folder)
    assert calibration_set(place.split, place.root, SIZE_HW, other).identity == first.identity
    write(other / "more.png", 6000)
    assert calibration_set(place.split, place.root, SIZE_HW, other).identity != first.identity
    assert calibration_set(place.split, place.root, SIZE_HW).identity != first.identity


def test_good_photos_held_out_of_a_product_without_a_test_folder_are_not_calibrated_on(tmp_path: Path) -> None:
    root = tmp_path / "product"
    for index in range(20):
        write(root / "OK" / f"{index:02d}.png", index)
    for index in range(3):
        write(root / "NG" / f"{index}.png", 200 + index)
    trained = open_product(root, part="good").good
    place = Place(root, split_good(trained), tmp_path / "own")
    held_out = sorted(set((root / "OK").iterdir()) - set(trained))
    place.folder.mkdir()
    fill(place.folder, FEWEST_IMAGES)
    shutil.copy(held_out[0], place.folder / "again.png")
    assert "is also a test image: again.png" in place.refusal(place.folder)
