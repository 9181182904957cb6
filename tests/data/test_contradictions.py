"""What a folder's names and its masks say against each other is told or refused, never guessed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.data.photo_measures import measure_photos
from edge_ad.data.products import Folders, open_product
from edge_ad.data.samples import Product, read_mask
from edge_ad.errors import DataError
from edge_ad.images import read_image

_HW = (48, 64)


def _write(path: Path, image: NDArray[np.generic], *options: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, list(options))
    return path


def _photo(path: Path, seed: int = 0, size_hw: tuple[int, int] = _HW) -> Path:
    return _write(path, np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8))


def _mask(value: int = 255) -> NDArray[np.uint8]:
    mask = np.zeros(_HW, np.uint8)
    mask[16:32, 24:48] = value
    return mask


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Two good and two defective test photos with their masks."""
    for number in range(2):
        _photo(tmp_path / f"test/good/{number}0.png", number)
        _photo(tmp_path / f"test/dent/{number}1.png", 2 + number)
        _write(tmp_path / f"ground_truth/dent/{number}1_mask.png", _mask())
    return tmp_path


def _open(root: Path) -> Product:
    return open_product(root, part="test")


@pytest.mark.parametrize("name", ["good_2", "ok_front", "OK-parts", "normal images", "parts_good"])
def test_a_folder_that_sounds_good_is_no_type_of_defect(product: Path, name: str) -> None:
    _photo(product / "test" / name / "9.png")
    with pytest.raises(DataError, match="may hold good parts"):
        _open(product)


@pytest.mark.parametrize("name", ["gut", "i.O.", "clean", "defect_free", "non-defective", "Good "])
def test_other_words_for_good_are_known(product: Path, name: str) -> None:
    _photo(product / "test" / name / "9.png")
    assert sum(not sample.is_defective for sample in _open(product).test) == 3


@pytest.mark.parametrize("name", ["not_ok", "no-good", "not good"])
def test_a_negation_is_a_defect(product: Path, name: str) -> None:
    _photo(product / "test" / name / "9.png")
    assert sum(sample.is_defective for sample in _open(product).test) == 3


def test_masks_that_belong_to_no_photo_are_told(product: Path) -> None:
    _write(product / "ground_truth/dent/01_mask_2.png", _mask())
    assert any(
        "1 masks belong to no photo, such as ground_truth/dent/01_mask_2.png" in line for line in _open(product).remarks
    )


def test_a_good_photo_whose_mask_marks_a_defect_is_told(product: Path) -> None:
    _write(product / "ground_truth/good/00_mask.png", _mask(0))
    assert _open(product).remarks == ()
    _write(product / "ground_truth/good/10_mask.png", _mask())
    (remark,) = _open(product).remarks
    assert "1 good test photos have a mask that marks a defect, and count as good: test/good/10.png" in remark


@pytest.mark.parametrize("folder", ["train/good", "train", "test/good"])
def test_photos_with_marked_masks_beside_them_are_not_good(tmp_path: Path, folder: str) -> None:
    for number in range(3):
        _photo(tmp_path / folder / f"{number}.png", number)
        _write(tmp_path / folder / f"{number}_GT.png", _mask(0))
    _photo(tmp_path / "test/dent/9.png", 9)
    open_product(tmp_path, part="test" if "test" in folder else "good")
    _write(tmp_path / folder / "2_GT.png", _mask())
    with pytest.raises(DataError, match=r"1 masks in .* mark defects"):
        open_product(tmp_path, part="test" if "test" in folder else "good")


@pytest.mark.parametrize("name", ["label", "mask", "gt", "segmentation"])
def test_a_type_of_defect_may_be_called_like_a_folder_of_masks(product: Path, name: str) -> None:
    (product / "test/dent").rename(product / "test" / name)
    (product / "ground_truth/dent").rename(product / "ground_truth" / name)
    assert [sample.defect_type for sample in _open(product).test if sample.masks] == [name] * 2


def test_black_masks_in_a_folder_of_good_photos_are_left_out(product: Path) -> None:
    _write(product / "test/good/gt/00.png", _mask(0))
    assert sum(not sample.is_defective for sample in _open(product).test) == 2


@pytest.mark.parametrize("folder", ["drawn", "binary_masks", "NG_mask"])
def test_masks_among_named_defects_are_no_photos(tmp_path: Path, folder: str) -> None:
    _photo(tmp_path / "ok/0.png")
    _photo(tmp_path / "rejects/1.png", 1)
    _write(tmp_path / "rejects" / folder / "1.png", _mask())
    folders = Folders((tmp_path / "ok",), (tmp_path / "rejects",), tmp_path / "rejects" / folder)
    assert sum(sample.is_defective for sample in open_product(None, folders, part="test").test) == 1


def test_a_folder_is_named_once(tmp_path: Path) -> None:
    _photo(tmp_path / "line/0.png")
    _photo(tmp_path / "line/ok2/1.png")
    for good in (tmp_path / "line", tmp_path / "line/ok2"):
        with pytest.raises(DataError, match=r"good and as defective|lies in a folder of defective"):
            open_product(None, Folders((good,), (tmp_path / "line",)), part="test")


def test_soft_edged_masks_beside_their_photo_are_masks(tmp_path: Path) -> None:
    _photo(tmp_path / "test/good/0.png")
    _write(tmp_path / "test/dent/1.jpg", np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8))
    mask = np.zeros((200, 300), np.uint8)
    mask[50:90, 100:180] = 255
    _write(tmp_path / "test/dent/1.png", cv2.GaussianBlur(mask, (0, 0), 2))
    assert len(_open(tmp_path).test) == 2


def test_a_photo_beside_a_damaged_file_of_its_name_is_not_the_end(tmp_path: Path) -> None:
    _write(tmp_path / "test/good/0.jpg", np.full((*_HW, 3), 90, np.uint8))
    (tmp_path / "test/good/0.png").touch()
    assert [path.name for path in open_product(tmp_path, part="test", skip_unreadable=True).skipped] == ["0.png"]


def test_numbered_types_and_photos_are_not_confused(tmp_path: Path) -> None:
    _photo(tmp_path / "test/good/0.png")
    for number in range(3):
        _photo(tmp_path / f"test/1/{number}.png", number)
        _write(tmp_path / f"ground_truth/1/{number}_mask.png", _mask())
    assert all(len(sample.masks) == 1 for sample in _open(tmp_path).test if sample.is_defective)


@pytest.mark.parametrize(
    ("ending", "options"),
    [(".jpg", ()), (".webp", (cv2.IMWRITE_WEBP_QUALITY, 80))],
)
def test_a_lossy_mask_is_known_by_its_content(product: Path, ending: str, options: tuple[int, ...]) -> None:
    mask = np.zeros(_HW, np.uint8)
    cv2.circle(mask, (32, 24), 14, 255, -1)
    lossy = _write(product / f"saved{ending}", cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR), *options)
    lossy.rename(product / "ground_truth/dent/01_mask.png")
    sample = next(sample for sample in _open(product).test if sample.path.name == "01.png")
    assert np.mean(read_mask(sample, _HW) != (mask > 0)) < 0.01


def test_a_mask_of_several_pages_is_refused(product: Path) -> None:
    (product / "ground_truth/dent/01_mask.png").unlink()
    assert cv2.imwritemulti(str(product / "ground_truth/dent/01_mask.tif"), [_mask(), _mask()])
    with pytest.raises(DataError, match=r"01_mask\.tif"):
        _open(product)


def test_one_training_photo_of_another_shape_is_named(tmp_path: Path) -> None:
    paths = [_photo(tmp_path / f"{number}.png", number) for number in range(6)]
    odd = _photo(tmp_path / "odd.png", 6, (48, 80))
    with pytest.raises(DataError, match=r"1 of 7 photos are of another shape .* odd\.png \(80×48, not 64×48\)"):
        measure_photos([*paths, odd])


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2] + b"\xff\xd9"


def _zeroed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(500) + content[middle + 500 :]


@pytest.mark.parametrize("damaged", [_cut, _zeroed, lambda content: content[: len(content) // 2] + content])
def test_a_jpeg_whose_data_are_damaged_is_not_filled_with_grey(tmp_path: Path, damaged) -> None:
    path = _photo(tmp_path / "0.jpg", 0, (240, 320))
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(DataError, match="damaged"):
        read_image(path)


def test_bytes_before_the_end_of_a_jpeg_are_harmless(tmp_path: Path) -> None:
    path = _write(tmp_path / "0.jpg", np.random.default_rng(0).integers(0, 256, _HW, np.uint8))
    expected = read_image(path)
    path.write_bytes(path.read_bytes()[:-2] + b"\x00\x00\xff\xd9")
    assert np.array_equal(read_image(path), expected)
