from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.data.photo_measures import measure_photos
from edge_ad.errors import DataError
from edge_ad.images import read_image


def _write(path: Path, highest: int, dtype: type = np.uint16, size_hw: tuple[int, int] = (20, 30)) -> Path:
    image = np.random.default_rng(len(path.name)).integers(0, highest + 1, (*size_hw, 3)).astype(dtype)
    image[0, 0] = highest
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize(
    ("highest", "bits"), [(255, 8), (256, 10), (1023, 10), (1024, 12), (4087, 12), (9000, 14), (16384, 16), (65535, 16)]
)
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_the_significant_bits_are_the_fewest_that_hold_every_value(
    tmp_path: Path, highest: int, bits: int, suffix: str
) -> None:
    paths = [_write(tmp_path / f"{n}{suffix}", highest // (1 + n % 2)) for n in range(4)]
    assert measure_photos(paths).significant_bits == bits


def test_twelve_bits_become_the_eight_highest_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.array([[[0, 16, 4095]]], np.uint16))
    np.testing.assert_array_equal(read_image(path, 12), [[[0, 1, 255]]])
    np.testing.assert_array_equal(read_image(path), [[[0, 0, 15]]])  # as runs of before read it


@pytest.mark.parametrize(
    ("highest", "dtype", "bits", "said"),
    [
        (255, np.uint8, 12, "has 8 bits"),
        (4096, np.uint16, 12, "values up to 4,096"),
        (65535, np.uint16, 8, "values up to 65,535"),
        (200, np.uint16, 12, "no value above 200"),
        (4095, np.uint16, 16, "no value above 4,095"),
    ],
)
def test_a_photo_of_another_depth_is_refused(tmp_path: Path, highest: int, dtype: type, bits: int, said: str) -> None:
    path = _write(tmp_path / "a.png", highest, dtype)
    with pytest.raises(DataError, match=f"another depth: .*{said}.* {bits} bits"):
        read_image(path, bits)


def test_photos_of_8_bits_among_others_are_named(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{n}.png", 4000) for n in range(9)] + [_write(tmp_path / "odd.png", 255, np.uint8)]
    with pytest.raises(DataError, match=r"1 of 10 photos have 8 bits and the others 12: odd\.png"):
        measure_photos(paths)


def test_a_photo_of_another_scale_does_not_darken_the_others(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{n}.png", 4000) for n in range(9)] + [_write(tmp_path / "odd.png", 64000)]
    with pytest.raises(DataError, match=r"1 of 10 photos use 16 bits and most of the others 12: odd\.png"):
        measure_photos(paths)


def test_8_bits_in_files_of_8_and_16_are_the_same_depth(tmp_path: Path) -> None:
    paths = [_write(tmp_path / "a.png", 255), _write(tmp_path / "b.png", 255, np.uint8)]
    assert measure_photos(paths).significant_bits == 8


def test_shapes_are_the_range_that_occurs(tmp_path: Path) -> None:
    paths = [
        _write(tmp_path / f"{n}.png", 255, np.uint8, size) for n, size in enumerate([(20, 30)] * 2 + [(30, 20)] * 2)
    ]
    spec = measure_photos(paths)
    assert (spec.geometry, spec.size_hw, spec.smallest_hw) == ("stretch", (20, 30), (20, 20))
    assert spec.aspect_ratios == pytest.approx((2 / 3, 1.5))


def test_further_pages_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = np.full((20, 20, 3), 100, np.uint8)
    cv2.imwritemulti(str(tmp_path / "two.tiff"), [page, page])
    cv2.imwrite(str(tmp_path / "one.tiff"), page)
    measure_photos([tmp_path / "one.tiff", tmp_path / "two.tiff"])
    assert "1 photos have several pages, of which only the first is read: two.tiff" in caplog.text
