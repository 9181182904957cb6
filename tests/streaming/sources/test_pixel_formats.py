"""Pixel formats: bytes as the standards lay them out, and what picture they become."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_ad.images import read_image
from edge_ad.streaming.sources.pixel_formats import PixelFormat, format_of_code, format_of_name, known_formats, to_bgr


def _format(name: str) -> PixelFormat:
    found = format_of_name(name)
    assert found is not None
    return found


def _bits(values: NDArray[np.uint16], bits: int) -> bytes:
    """The values bit by bit, the lowest first: PFNC's ``p``."""
    whole = sum(int(value) << place * bits for place, value in enumerate(values))
    return whole.to_bytes(-(-len(values) * bits // 8), "little")


def _pairs(values: NDArray[np.uint16], bits: int) -> bytes:
    """Two values in three bytes, their low bits in the middle one: GigE Vision's ``Packed``."""
    low = bits - 8
    made = bytearray()
    for place in range(0, len(values), 2):
        first, second = int(values[place]), int(values[place + 1]) if place + 1 < len(values) else 0
        lows = (first & (1 << low) - 1) | (second & (1 << low) - 1) << 4
        made += bytes((first >> low, lows, second >> low))
    return bytes(made)


def _laid_out(values: NDArray[np.uint16], name: str) -> NDArray[np.uint8]:
    made = _format(name)
    if made.packing == "p":
        content = _bits(values, made.significant_bits)
    elif made.packing == "Packed":
        content = _pairs(values, made.significant_bits)
    else:
        content = values.astype("u1" if made.significant_bits == 8 else "<u2").tobytes()
    return np.frombuffer(content, np.uint8)


_MONO = [name for name in known_formats() if name.startswith("Mono")]
_BAYER = [name for name in known_formats() if name.startswith("Bayer")]


@pytest.mark.parametrize("name", _MONO)
@pytest.mark.parametrize("size_hw", [(6, 8), (5, 7)])
def test_grey_values_keep_their_highest_eight_bits(name: str, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    bits = _format(name).significant_bits
    values = np.random.default_rng(0).integers(0, 1 << bits, height * width, np.uint16, endpoint=False)
    picture = to_bgr(_laid_out(values, name), _format(name), size_hw)
    expected = (values >> bits - 8).astype(np.uint8).reshape(size_hw)
    np.testing.assert_array_equal(picture, np.repeat(expected[..., None], 3, 2))


@pytest.mark.parametrize("name", ["Mono8", "Mono10p", "Mono12p", "Mono12Packed", "Mono16"])
def test_bytes_after_each_row_belong_to_no_pixel(name: str) -> None:
    height, width, padding = 4, 5, 3
    bits = _format(name).significant_bits
    rows = np.random.default_rng(1).integers(0, 1 << bits, (height, width), np.uint16, endpoint=False)
    length = _format(name).row_bytes(width)
    laid_out = [np.pad(_laid_out(row, name)[:length], (0, padding), constant_values=255) for row in rows]
    picture = to_bgr(np.concatenate(laid_out), _format(name), (height, width), padding)
    np.testing.assert_array_equal(picture[..., 0], (rows >> bits - 8).astype(np.uint8))


@pytest.mark.parametrize("name", _BAYER)
def test_each_bayer_pattern_has_its_colour_where_the_name_says(name: str) -> None:
    made, (height, width) = _format(name), (8, 10)
    pattern = made.colour.removeprefix("Bayer")
    corner = {"RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}[pattern]
    levels = {"B": 40, "G": 120, "R": 230}
    tile = np.array([levels[letter] << made.significant_bits - 8 for letter in corner], np.uint16).reshape(2, 2)
    picture = to_bgr(_laid_out(np.tile(tile, (height // 2, width // 2)).reshape(-1), name), made, (height, width))
    assert picture.shape == (height, width, 3)
    np.testing.assert_array_equal(picture[2:-2, 2:-2].reshape(-1, 3), np.tile([40, 120, 230], (4 * 6, 1)))


@pytest.mark.parametrize(("name", "channels"), [("RGB8", "RGB"), ("BGR8", "BGR"), ("RGBa8", "RGBa"), ("BGRa8", "BGRa")])
def test_colours_come_as_bgr(name: str, channels: str) -> None:
    levels = {"R": 200, "G": 100, "B": 50, "a": 255}
    data = np.tile(np.array([levels[letter] for letter in channels], np.uint8), 12)
    picture = to_bgr(data, _format(name), (3, 4))
    np.testing.assert_array_equal(picture.reshape(-1, 3), np.tile([50, 100, 200], (12, 1)))
    assert not np.shares_memory(picture, data)


@pytest.mark.parametrize("name", ["YUV422_8", "YUV422_8_UYVY", "YCbCr422_8", "YCbCr422_8_CbYCrY"])
def test_grey_in_a_format_of_brightness_and_colour_stays_grey(name: str) -> None:
    luma_first = name in ("YUV422_8", "YCbCr422_8")
    data = np.tile(np.array([126, 128] if luma_first else [128, 126], np.uint8), 4 * 6)
    picture = to_bgr(data, _format(name), (4, 6))
    assert np.ptp(picture) == 0
    assert picture[0, 0, 0] == cv2.cvtColor(np.full((2, 2, 2), (126, 128), np.uint8), cv2.COLOR_YUV2BGR_YUY2)[0, 0, 0]


@pytest.mark.parametrize("name", ["Mono10", "Mono12p", "Mono12Packed", "Mono14", "Mono16"])
def test_a_frame_becomes_what_a_photo_of_its_depth_does(name: str, tmp_path: Path) -> None:
    bits = _format(name).significant_bits
    values = np.random.default_rng(2).integers(0, 1 << bits, (8, 10), np.uint16, endpoint=False)
    cv2.imwrite(str(tmp_path / "photo.png"), values)
    frame = to_bgr(_laid_out(values.reshape(-1), name), _format(name), (8, 10))
    np.testing.assert_array_equal(frame, read_image(tmp_path / "photo.png", bits))


def test_too_few_bytes_are_no_picture() -> None:
    with pytest.raises(ValueError, match="needs 48 bytes, not 47"):
        to_bgr(np.zeros(47, np.uint8), _format("Mono8"), (6, 8))


def test_a_format_is_found_by_its_code_and_by_names_of_before_the_standard() -> None:
    assert all(format_of_code(_format(name).code) == _format(name) for name in known_formats())
    assert format_of_name("RGB8Packed") == _format("RGB8")
    assert format_of_code(0x01080002) is None  # Mono8s: signed


@given(
    st.sampled_from(known_formats()),
    st.tuples(st.integers(-1, 9), st.integers(-1, 9)),
    st.integers(0, 5),
    st.integers(0, 600),
)
def test_any_size_and_number_of_bytes_is_a_picture_or_one_error(
    name: str, size_hw: tuple[int, int], row_padding: int, length: int
) -> None:
    try:
        picture = to_bgr(np.zeros(length, np.uint8), _format(name), size_hw, row_padding)
    except ValueError:
        return
    assert picture.shape == (*size_hw, 3)
    assert picture.dtype == np.uint8
