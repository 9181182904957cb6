"""Pixel formats of machine-vision cameras (EMVA's PFNC and GigE Vision's older packed ones), turned into BGR."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PixelFormat", "format_of_code", "format_of_name", "known_formats", "to_bgr"]

_Bytes = NDArray[np.uint8]
_Words = NDArray[Any]  # of uint16
_Values = _Bytes | _Words

_BITS_IN_CODE = 16  # a PFNC code holds the bits of a pixel from this bit on
# Upper left 2×2 pixels in the name of PFNC → OpenCV's conversion.
_DEMOSAIC = {
    "BayerRG": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG": cv2.COLOR_BayerBGGR2BGR,
}
_COLOURS = {
    "RGB8": cv2.COLOR_RGB2BGR,
    "BGR8": None,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    "YUV422_8": cv2.COLOR_YUV2BGR_YUY2,
    "YUV422_8_UYVY": cv2.COLOR_YUV2BGR_UYVY,
    "YCbCr422_8": cv2.COLOR_YUV2BGR_YUY2,
    "YCbCr422_8_CbYCrY": cv2.COLOR_YUV2BGR_UYVY,
}
_CODES: Mapping[str, int] = {
    "Mono8": 0x01080001,
    "Mono10": 0x01100003,
    "Mono10p": 0x010A0046,
    "Mono10Packed": 0x010C0004,
    "Mono12": 0x01100005,
    "Mono12p": 0x010C0047,
    "Mono12Packed": 0x010C0006,
    "Mono14": 0x01100025,
    "Mono16": 0x01100007,
    "BayerGR8": 0x01080008,
    "BayerRG8": 0x01080009,
    "BayerGB8": 0x0108000A,
    "BayerBG8": 0x0108000B,
    "BayerGR10": 0x0110000C,
    "BayerRG10": 0x0110000D,
    "BayerGB10": 0x0110000E,
    "BayerBG10": 0x0110000F,
    "BayerGR12": 0x01100010,
    "BayerRG12": 0x01100011,
    "BayerGB12": 0x01100012,
    "BayerBG12": 0x01100013,
    "BayerGR16": 0x0110002E,
    "BayerRG16": 0x0110002F,
    "BayerGB16": 0x01100030,
    "BayerBG16": 0x01100031,
    "BayerGR10Packed": 0x010C0026,
    "BayerRG10Packed": 0x010C0027,
    "BayerGB10Packed": 0x010C0028,
    "BayerBG10Packed": 0x010C0029,
    "BayerGR12Packed": 0x010C002A,
    "BayerRG12Packed": 0x010C002B,
    "BayerGB12Packed": 0x010C002C,
    "BayerBG12Packed": 0x010C002D,
    "BayerBG10p": 0x010A0052,
    "BayerBG12p": 0x010C0053,
    "BayerGB10p": 0x010A0054,
    "BayerGB12p": 0x010C0055,
    "BayerGR10p": 0x010A0056,
    "BayerGR12p": 0x010C0057,
    "BayerRG10p": 0x010A0058,
    "BayerRG12p": 0x010C0059,
    "RGB8": 0x02180014,
    "BGR8": 0x02180015,
    "RGBa8": 0x02200016,
    "BGRa8": 0x02200017,
    "YUV422_8": 0x02100032,
    "YUV422_8_UYVY": 0x0210001F,
    "YCbCr422_8": 0x0210003B,
    "YCbCr422_8_CbYCrY": 0x02100043,
}
# Names of before PFNC that cameras still use.
_OLD_NAMES = {"RGB8Packed": "RGB8", "BGR8Packed": "BGR8", "YUV422Packed": "YUV422_8_UYVY", "YUYVPacked": "YUV422_8"}
_NAME = re.compile(r"(Mono|BayerRG|BayerGR|BayerGB|BayerBG)(8|10|12|14|16)(p|Packed)?")


@dataclass(frozen=True)
class PixelFormat:
    """How a camera lays out a picture.

    Attributes:
        name: In the standard, such as ``"BayerRG12p"``.
        code: In the standard; it holds the bits of a pixel.
        colour: ``"Mono"``, ``"BayerRG"`` and the like, or the name again where each pixel has its own colour.
        significant_bits: Of a value: 8, 10, 12, 14 or 16.
        packing: ``"p"`` (values follow each other bit by bit), ``"Packed"`` (two values in three bytes, as GigE Vision
            1 has them), or empty.
    """

    name: str
    code: int
    colour: str
    significant_bits: int
    packing: str = ""

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of ``width`` pixels, rounded up, without what a camera adds at its end."""
        return -(-width * self._pixel_bits // 8)

    def picture_bytes(self, height: int, width: int) -> int:
        """Bytes of a picture whose rows follow each other without a gap."""
        return self.row_bytes(height * width)

    @property
    def _pixel_bits(self) -> int:
        return self.code >> _BITS_IN_CODE & 0xFF


def _named(name: str) -> PixelFormat:
    parts = _NAME.fullmatch(name)
    if parts is None:
        return PixelFormat(name, _CODES[name], name, 8)
    return PixelFormat(name, _CODES[name], parts[1], int(parts[2]), parts[3] or "")


_FORMATS: Mapping[str, PixelFormat] = {name: _named(name) for name in _CODES}
_BY_CODE: Mapping[int, PixelFormat] = {entry.code: entry for entry in _FORMATS.values()}


def format_of_code(code: int) -> PixelFormat | None:
    """The pixel format that has a code; None for one that is not read here."""
    return _BY_CODE.get(code)


def format_of_name(name: str) -> PixelFormat | None:
    """The pixel format that has a name, with those of before PFNC; None for one that is not read here."""
    return _FORMATS.get(_OLD_NAMES.get(name, name))


def known_formats() -> tuple[str, ...]:
    """The names of the pixel formats that are read here."""
    return tuple(_FORMATS)


def to_bgr(data: _Bytes, pixel_format: PixelFormat, size_hw: tuple[int, int], row_padding: int = 0) -> _Bytes:
    """Turn what a camera sent into a picture of 8 bits: the highest 8 of its significant bits, as photos are read.

    Colours of a Bayer pattern are made at the camera's depth, before the low bits go.

    Args:
        data: The bytes, uint8 (n,); more than the picture needs may follow.
        pixel_format: How they are laid out.
        size_hw: Height and width of the picture, in pixels.
        row_padding: Bytes that follow each row and belong to no pixel.

    Returns:
        uint8 (H, W, 3) BGR, which shares no memory with ``data``.

    Raises:
        ValueError: There are fewer bytes than the picture needs, or the format has no picture of that size.
    """
    try:
        return _to_bgr(data, pixel_format, size_hw, row_padding)
    except cv2.error as error:  # an odd width where two pixels share their colour
        raise ValueError(f"{pixel_format.name} has no picture of {size_hw[1]}×{size_hw[0]}.") from error


def _to_bgr(data: _Bytes, pixel_format: PixelFormat, size_hw: tuple[int, int], row_padding: int) -> _Bytes:
    height, width = size_hw
    packed = _without_padding(data, pixel_format, size_hw, row_padding)
    if pixel_format.name in _COLOURS:
        return _from_colours(packed.reshape(height, width, -1), _COLOURS[pixel_format.name])
    rows = packed.reshape(height if row_padding else 1, -1)  # with a padding, each row begins at a byte of its own
    values = _unpack(rows, pixel_format)[:, : height * width // len(rows)].reshape(height, width)
    code = _DEMOSAIC.get(pixel_format.colour)
    picture = values if code is None else cv2.cvtColor(values, code)
    picture = (picture >> (pixel_format.significant_bits - 8)).astype(np.uint8)
    return picture if code is not None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


def _without_padding(data: _Bytes, pixel_format: PixelFormat, size_hw: tuple[int, int], row_padding: int) -> _Bytes:
    height, width = size_hw
    row = pixel_format.row_bytes(width)
    needed = height * (row + row_padding) if row_padding else pixel_format.picture_bytes(height, width)
    if len(data) < needed:
        raise ValueError(f"{pixel_format.name} of {width}×{height} needs {needed:,} bytes, not {len(data):,}.")
    data = data[:needed]
    return data.reshape(height, -1)[:, :row].reshape(-1) if row_padding else data


def _from_colours(pixels: _Bytes, conversion: int | None) -> _Bytes:
    return pixels.copy() if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)


def _unpack(rows: _Bytes, pixel_format: PixelFormat) -> _Values:
    """Values of the pixels of each row, (rows, n); a few more than there are where its last bytes are not full."""
    if pixel_format.significant_bits == 8:
        return rows
    if not pixel_format.packing:
        return rows.copy().view("<u2").astype(np.uint16, copy=False)
    group, unpack = _UNPACK[pixel_format.packing, pixel_format.significant_bits]
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % group)))
    groups = rows.reshape(-1, group).T.astype(np.uint16)
    return np.stack(unpack(*groups), 1).reshape(len(rows), -1)


def _p12(low: _Words, middle: _Words, high: _Words) -> tuple[_Words, ...]:
    return low | (middle & 0xF) << 8, middle >> 4 | high << 4


def _p10(a: _Words, b: _Words, c: _Words, d: _Words, e: _Words) -> tuple[_Words, ...]:
    return a | (b & 0x3) << 8, b >> 2 | (c & 0xF) << 6, c >> 4 | (d & 0x3F) << 4, d >> 6 | e << 2


def _packed12(first: _Words, low: _Words, second: _Words) -> tuple[_Words, ...]:
    return first << 4 | low & 0xF, second << 4 | low >> 4


def _packed10(first: _Words, low: _Words, second: _Words) -> tuple[_Words, ...]:
    return first << 2 | low & 0x3, second << 2 | low >> 4 & 0x3


# Packing and significant bits → bytes of a group, and what makes values of the columns of groups.
_UNPACK: Mapping[tuple[str, int], tuple[int, Callable[..., tuple[_Words, ...]]]] = {
    ("p", 10): (5, _p10),
    ("p", 12): (3, _p12),
    ("Packed", 10): (3, _packed10),
    ("Packed", 12): (3, _packed12),
}
