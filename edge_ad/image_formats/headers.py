"""Headers of image files: the format and size they announce, and their segments and chunks."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge_ad.image_formats.parsing import parsed_or
from edge_ad.image_formats.tiff import (
    TIFF_BITS,
    TIFF_BYTE_COUNTS,
    TIFF_OFFSETS,
    TIFF_SIGNATURES,
    has_jpeg_inside,
    read_directory,
)

__all__ = [
    "PNG_SIGNATURE",
    "ImageHeader",
    "is_lossy",
    "jpeg_scans",
    "jpeg_segments",
    "png_chunks",
    "read_header",
]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Start of frame: all but C4, C8 and CC. From C9 on the coding is arithmetic, which spends less than a bit on a block.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_SCAN = 0xDA
# Markers with a length: no others belong before the first scan. Fill bytes may precede one, and zeros from cameras that
# align their segments; libjpeg also skips FF 00, and continues after it.
_JPEG_SEGMENT = re.compile(rb"\x00*\xff+([\xc0-\xcf\xda-\xfe])")
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # after the data of a scan; decoders skip all others
_JPEG_END = 0xD9
_GAP = rb"(?:[ \t\r\n]|#[^\r\n]*[\r\n])+"
# Binary grey (P5) and colour (P6) alone: kind, width, height, highest value, and the one byte before the pixels.
_PNM_HEADER = re.compile(rb"P([56])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})[ \t\r\n]")
_MOST_SEGMENTS = 200_000  # segments or chunks of a file; a PNG at the limit has up to 100,000 of 8 KiB
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SAMPLES, _TIFF_TILES = 256, 257, 277, (322, 323)
_TIFF_TAGS = frozenset({_TIFF_WIDTH, _TIFF_HEIGHT, TIFF_BITS, _TIFF_SAMPLES})
_TIFF_TAGS |= frozenset({*_TIFF_TILES, *TIFF_OFFSETS, *TIFF_BYTE_COUNTS})


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a file says about its picture.

    Attributes:
        kind: ``"PNG"``, ``"JPEG"``, ``"BMP"``, ``"TIFF"``, ``"WebP"`` or ``"PNM"`` (PGM and PPM).
        width: In pixels; of several pictures in one file, the largest.
        height: In pixels.
        bits: Bits of one pixel; of a JPEG and a WebP, 24.
        sample_bits: Bits of one channel; 8 where the kind has no other.
        least_bytes: Fewer bytes than this cannot hold so many pixels in this coding.
        coded_pixels: Pixels of all tiles, with what lies outside the picture; 0 where the kind has none.
        coded_bytes: Bytes of all strips or tiles, counted as often as they are decoded; 0 where the kind has none.
    """

    kind: str
    width: int
    height: int
    bits: int
    least_bytes: int = 0
    sample_bits: int = 8
    coded_pixels: int = 0
    coded_bytes: int = 0

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height


def read_header(content: bytes) -> ImageHeader | None:
    """Read the headers of an image file.

    Args:
        content: The bytes of the file.

    Returns:
        What they say; None when it is no PNG, JPEG, BMP, TIFF, WebP, PGM or PPM file, or they do not tell the size.
    """
    header = parsed_or(None, lambda: _read(content))
    return header if header is not None and header.width > 0 and header.height > 0 else None


def is_lossy(content: bytes) -> bool:
    """Whether the values of an image file are not exact: JPEG, lossy WebP, or TIFF with JPEG inside."""
    if content[:4] in TIFF_SIGNATURES:
        return has_jpeg_inside(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return b"VP8 " in content[:64] or (b"VP8X" in content[:64] and b"VP8L" not in content[:4096])
    return content.startswith(b"\xff\xd8\xff")


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment of a JPEG up to its first scan; the position is that of the length.

    Raises:
        ValueError: Something stands there that no header has, or too many segments.
        struct.error: It is cut off.
    """
    position = 2
    for _ in range(_MOST_SEGMENTS):
        found = _JPEG_SEGMENT.match(content, position)
        if found is None:
            raise ValueError("no marker, or one out of place")
        marker, position = found[1][0], found.end()
        (length,) = struct.unpack_from(">H", content, position)
        yield marker, position
        if marker == _JPEG_SCAN:
            return
        position += length
    raise ValueError("too many segments")


def jpeg_scans(content: bytes, most: int) -> int:
    """How many scans a JPEG has: passes over its picture. Counts to ``most`` + 1.

    Raises:
        ValueError: As `jpeg_segments`.
        struct.error: It is cut off.
    """
    *_, (_, position) = jpeg_segments(content)
    scans = 1
    for _ in range(_MOST_SEGMENTS):
        (length,) = struct.unpack_from(">H", content, position)
        found = _JPEG_MARKER.search(content, position + length)
        if found is None or content[found.start() + 1] == _JPEG_END or scans > most:
            return scans
        scans += content[found.start() + 1] == _JPEG_SCAN
        position = found.end()
    raise ValueError("too many segments")


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk of a PNG to IEND, where its data starts and where they end.

    Raises:
        ValueError: There are too many.
        struct.error: The file is cut off.
    """
    position = len(PNG_SIGNATURE)
    for _ in range(_MOST_SEGMENTS):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, position + 8, position + 8 + length
        if kind == b"IEND":
            return
        position += 12 + length
    raise ValueError("too many chunks")


def _read(content: bytes) -> ImageHeader | None:
    if content[4:8] == b"ftyp":  # a decoder may take it for AVIF, however it begins
        return None
    if content.startswith(PNG_SIGNATURE):
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(b"BM"):
        return _bmp(content)
    if content[:4] in TIFF_SIGNATURES:
        return _tiff(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    if content[:2] in (b"P5", b"P6"):
        return _pnm(content)
    return None


def _png(content: bytes) -> ImageHeader | None:
    kind, width, height, depth, colour = struct.unpack_from(">4sIIBB", content, 12)
    return ImageHeader("PNG", width, height, depth * _PNG_CHANNELS[colour]) if kind == b"IHDR" else None


def _jpeg(content: bytes) -> ImageHeader | None:
    for marker, position in jpeg_segments(content):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, position + 3)
            # The code of a block of 8 × 8 pixels takes a bit at least; with odd subsampling there are half the blocks.
            least = width * height // (64 * 8 * 2) if marker in _JPEG_HUFFMAN else 0
            return ImageHeader("JPEG", width, height, 24, least)
    return None


def _bmp(content: bytes) -> ImageHeader | None:
    (header_size,) = struct.unpack_from("<I", content, 14)
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
    elif header_size >= 36:
        width, height, _, bits = struct.unpack_from("<iiHH", content, 18)
    else:
        return None
    return ImageHeader("BMP", width, abs(height), bits)


def _tiff(content: bytes) -> ImageHeader | None:
    tags = read_directory(content, _TIFF_TAGS)
    (width,), (height,) = tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
    # A tile is decoded whole, however little of it lies inside the picture.
    (tile_width,), (tile_height,) = (tags.get(tag, (1,)) for tag in _TIFF_TILES)
    if min(width, height, tile_width, tile_height) < 1:
        return None
    depth, channels = max(tags.get(TIFF_BITS, (1,))), max(tags.get(_TIFF_SAMPLES, (1,)))
    coded_pixels = -(-width // tile_width) * tile_width * (-(-height // tile_height) * tile_height)
    # Of strips without lengths, libtiff takes the rest of the file for each.
    lengths, parts = ([value for tag in of for value in tags.get(tag, ())] for of in (TIFF_BYTE_COUNTS, TIFF_OFFSETS))
    coded_bytes = sum(lengths) + max(0, len(parts) - len(lengths)) * len(content)
    if tile_width * tile_height > width * height:
        width, height = tile_width, tile_height
    return ImageHeader("TIFF", width, height, depth * channels, 0, depth, coded_pixels, coded_bytes)


def _pnm(content: bytes) -> ImageHeader | None:
    if (found := _PNM_HEADER.match(content)) is None:
        return None
    kind, width, height, highest = (int(number) for number in found.groups())
    if not 255 <= highest <= 65535:  # decoders do not scale a smaller range to the whole one
        return None
    bits, channels = (8 if highest == 255 else 16), (1 if kind == 5 else 3)
    return ImageHeader("PNM", width, height, bits * channels, found.end() + width * height * channels * bits // 8, bits)


def _webp(content: bytes) -> ImageHeader | None:
    (length,) = struct.unpack_from("<I", content, 4)
    width = height = 0
    for number, (kind, data) in enumerate(_webp_chunks(content, 12, min(len(content), 8 + length), is_top=True)):
        if number >= _MOST_SEGMENTS:
            raise ValueError("too many chunks")
        width, height = max((width, height), _webp_size(content, kind, data), key=lambda size: size[0] * size[1])
    return ImageHeader("WebP", width, height, 24)


def _webp_chunks(content: bytes, position: int, end: int, *, is_top: bool) -> Iterator[tuple[bytes, int]]:
    """Kind of each chunk and where its data starts; those inside the frames of an animation follow their frame."""
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, position)
        data = position + 8
        yield kind, data
        if kind == b"ANMF":
            if not is_top:
                raise ValueError("a frame inside a frame")
            yield from _webp_chunks(content, data + 16, min(end, data + length), is_top=False)
        position = data + length + (length & 1)


def _webp_size(content: bytes, kind: bytes, data: int) -> tuple[int, int]:
    """Width and height of the canvas, of a frame of an animation, or as a bitstream says; 0, 0 of other chunks."""
    if kind == b"VP8X":
        return _u24(content, data + 4) + 1, _u24(content, data + 7) + 1
    if kind == b"ANMF":
        return _u24(content, data + 6) + 1, _u24(content, data + 9) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, data + 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (both,) = struct.unpack_from("<I", content, data + 1)
        return (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
    return 0, 0


def _u24(content: bytes, position: int) -> int:
    low, high = struct.unpack_from("<HB", content, position)
    return int(low | high << 16)
