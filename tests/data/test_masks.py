"""Masks as people really draw, name and store them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.data.products import open_product
from edge_ad.data.samples import Product, read_mask
from edge_ad.errors import DataError

_HW = (48, 64)
_Image = NDArray[np.generic]


def _square(value: int = 255, kind: type[np.generic] = np.uint8) -> _Image:
    mask = np.zeros(_HW, kind)
    mask[16:32, 24:48] = value
    return mask


def _write(path: Path, image: _Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _photo(path: Path, seed: int = 0, size_hw: tuple[int, int] = _HW) -> Path:
    _write(path, np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8))
    return path


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product with two defective photos of a type and no masks yet."""
    _photo(tmp_path / "test/good/000.png", 1)
    _photo(tmp_path / "test/dent/000.png", 2)
    _photo(tmp_path / "test/dent/001.png", 3)
    return tmp_path


def _open(root: Path) -> Product:
    return open_product(root, part="test")


def _marked(root: Path) -> list[_Image | None]:
    return [read_mask(sample, _HW) if sample.mask_path else None for sample in _open(root).test if sample.is_defective]


@pytest.mark.parametrize(
    "place",
    [
        "ground_truth/dent/{}_mask.png",
        "ground_truth/dent/{}.png",
        "ground_truth/DENT/{}_mask.PNG",
        "ground_truth/dent/{}_gt.bmp",
        "ground_truth/dent/{}_GT.tif",
        "ground_truth/dent/{}_label.webp",
        "masks/dent/{}.png",
        "masks/{}.png",
        "gt/dent/{}.png",
        "labels/test/dent/{}.png",
        "ground_truth/defect/{}.png",
        "test/ground_truth/dent/{}.png",
        "test/dent/masks/{}.png",
        "test/dent/{}_mask.png",
    ],
)
def test_masks_are_found_where_people_put_them(product: Path, place: str) -> None:
    for number in ("000", "001"):
        path = product / place.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".webp":
            assert cv2.imwrite(str(path), cv2.merge([_square()] * 3), [cv2.IMWRITE_WEBP_QUALITY, 101])
        else:
            _write(path, _square())
    for mask in _marked(product):
        np.testing.assert_array_equal(mask, _square() > 0)
    assert _open(product).remarks == ()


def _alpha(colour: int) -> _Image:
    return np.dstack([np.full(_HW, colour, np.uint8)] * 3 + [_square()])


def _two_values() -> _Image:
    mask = _square()
    mask[16:32, 24:30] = 3
    return mask


@pytest.mark.parametrize(
    "draw",
    [
        lambda: _square(1),
        _two_values,
        lambda: _square(7, np.uint16),
        lambda: _square(65535, np.uint16),
        lambda: np.dstack([_square(0), _square(0), _square(90)]),
        lambda: np.dstack([_square(200), _square(0), _square(0)]),
        lambda: _alpha(0),
        lambda: _alpha(255),
        lambda: np.dstack([_square()] * 3 + [np.full(_HW, 255, np.uint8)]),
    ],
)
def test_every_value_above_zero_in_any_channel_is_a_defect(product: Path, draw: Callable[[], _Image]) -> None:
    for number in ("000", "001"):
        _write(product / f"ground_truth/dent/{number}.png", draw())
    for mask in _marked(product):
        np.testing.assert_array_equal(mask, _square() > 0)


def test_the_waves_that_jpeg_leaves_beside_an_edge_are_no_defect(product: Path) -> None:
    for number in ("000", "001"):
        _write(product / f"ground_truth/dent/{number}.jpg", _square())
    for mask in _marked(product):
        assert mask is not None
        assert np.mean(mask != (_square() > 0)) < 0.01


def test_several_masks_in_a_folder_of_the_photos_name_are_united(product: Path) -> None:
    left, right = _square(), _square()
    left[:, 36:], right[:, :36] = 0, 0
    for number in ("000", "001"):
        _write(product / f"ground_truth/dent/{number}/000.png", left)
        _write(product / f"ground_truth/dent/{number}/001.png", right)
    for mask in _marked(product):
        np.testing.assert_array_equal(mask, _square() > 0)


def test_masks_beside_photos_under_the_same_name_are_no_photos(tmp_path: Path) -> None:
    for index in range(10):
        _photo(tmp_path / f"OK/S{index}.jpg", index)
    for index in range(2):
        _photo(tmp_path / f"NG/dent/A{index}.jpg", 20 + index)
        _write(tmp_path / f"NG/dent/A{index}.png", _square())
    defective = [sample for sample in _open(tmp_path).test if sample.is_defective]
    assert [(sample.path.name, sample.mask_path and sample.mask_path.name) for sample in defective] == [
        ("A0.jpg", "A0.png"),
        ("A1.jpg", "A1.png"),
    ]


def test_masks_that_are_missing_and_masks_that_mark_nothing_are_told_apart(product: Path) -> None:
    _photo(product / "test/dent/002.png", 5)
    _write(product / "ground_truth/dent/000.png", _square())
    _write(product / "ground_truth/dent/001.png", _square(0))
    missing, empty = _open(product).remarks
    assert missing.startswith("1 of 3 masks were not found (looked in: ground_truth")
    assert "dent/002.png" in missing
    assert empty.startswith("1 of 3 masks were found and mark nothing (highest value 0), of test/dent/001.png")


def test_masks_that_look_inverted_are_named(product: Path) -> None:
    _write(product / "ground_truth/dent/000.png", _square())
    _write(product / "ground_truth/dent/001.png", 255 - _square())
    (remark,) = _open(product).remarks
    assert remark.startswith("1 of 2 masks look inverted")
    assert "001.png" in remark
    assert "000.png" not in remark


@pytest.mark.parametrize("names", [("000.png", "000_mask.png"), ("000_mask.png", "000_mask.bmp")])
def test_two_masks_of_one_photo_are_refused(product: Path, names: tuple[str, str]) -> None:
    for name in names:
        _write(product / "ground_truth/dent" / name, _square())
    with pytest.raises(DataError, match=r"Several files could be the mask of test/dent/000\.png") as raised:
        _open(product)
    assert all(name in raised.value.message for name in names)


def test_one_mask_of_two_photos_is_refused(product: Path) -> None:
    _photo(product / "test/scratch/000.png", 7)
    _write(product / "masks/000.png", _square())
    with pytest.raises(DataError, match=r"masks/000\.png could be the mask of"):
        _open(product)


def test_photos_whose_names_differ_by_case_alone_have_masks_of_their_own(tmp_path: Path) -> None:
    for number, stem in enumerate(("a", "A")):
        _photo(tmp_path / f"test/dent/{stem}.png", number)
        _write(tmp_path / f"masks/dent/{stem}_mask.png", _square())
    for sample in _open(tmp_path).test:
        assert sample.mask_path is not None
        assert sample.mask_path.stem == f"{sample.path.stem}_mask"


def test_the_mask_of_another_type_is_not_taken(product: Path) -> None:
    _photo(product / "test/scratch/000.png", 7)
    _write(product / "ground_truth/scratch/000_mask.png", _square())
    masks = {sample.defect_type + sample.path.stem: sample.mask_path for sample in _open(product).test}
    assert (masks["dent000"], masks["scratch000"] is None) == (None, False)


@pytest.mark.parametrize("size_hw", [(48, 32), (64, 48), (48, 48), (24, 30)])
def test_a_mask_of_another_shape_is_refused_with_both_sizes(product: Path, size_hw: tuple[int, int]) -> None:
    _write(product / "ground_truth/dent/000.png", np.full(size_hw, 255, np.uint8))
    with pytest.raises(DataError, match=rf"000\.png is {size_hw[1]} x {size_hw[0]}, its photo 000\.png 64 x 48"):
        _open(product)


def test_a_mask_at_another_scale_fits(product: Path) -> None:
    for number in ("000", "001"):
        _write(product / f"ground_truth/dent/{number}.png", cv2.resize(_square(), (32, 24), interpolation=0))
    for mask in _marked(product):
        np.testing.assert_array_equal(mask, _square() > 0)


def _turn(path: Path, orientation: int) -> None:
    """Write an Exif orientation into a JPEG."""
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + content[2:])


@pytest.mark.parametrize(
    ("photo_hw", "orientation", "mask_hw", "problem"),
    [
        ((48, 64), 6, (48, 64), "Exif turns the photo, and the mask was drawn on it unturned"),
        ((48, 64), 6, (64, 48), None),
        ((48, 48), 6, (48, 48), "does not tell"),
        ((48, 64), 3, (48, 64), "does not tell"),
        ((48, 64), 1, (48, 64), None),
    ],
)
def test_a_photo_that_exif_turns_needs_a_mask_that_was_turned(
    tmp_path: Path, photo_hw: tuple[int, int], orientation: int, mask_hw: tuple[int, int], problem: str | None
) -> None:
    _turn(_photo(tmp_path / "test/dent/000.jpg", size_hw=photo_hw), orientation)
    mask = np.zeros(mask_hw, np.uint8)
    mask[4:9, 4:9] = 255
    _write(tmp_path / "ground_truth/dent/000.png", mask)
    if problem is None:
        assert _open(tmp_path).remarks == ()
    else:
        with pytest.raises(DataError, match=problem):
            _open(tmp_path)


def test_masks_of_several_sizes_for_one_photo_are_refused(product: Path) -> None:
    _write(product / "ground_truth/dent/000/000.png", _square())
    _write(product / "ground_truth/dent/000/001.png", _square()[:20])
    with pytest.raises(DataError, match=r"different sizes \(64 x 20, 64 x 48\)"):
        _open(product)
