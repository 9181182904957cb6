"""How large a picture is, told by the headers of its file before anything is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edge_ad.tiff_directory import TIFF_SIGNATURES, read_directory

__all__ = ["PNG_SIGNATURE", "ImageHeader", "jpeg_scans", "jpeg_segments", "png_chunks", "read_header"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Start of frame: all but C4, C8 and CC. From C9 on the coding is arithmetic, which spends less than a bit on a block.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_SCAN = 0xDA
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length: none belongs before the first scan
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in the data of a scan: what ends it
_JPEG_END = 0xD9
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, _TIFF_TILES = 256, 257, 258, 277, (322, 323)
_TIFF_TAGS = frozenset({_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, *_TIFF_TILES})


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture.

    Attributes:
        kind: ``"PNG"``, ``"JPEG"``, ``"BMP"``, ``"TIFF"`` or ``"WebP"``.
        width: In pixels; of several pictures in one file, the largest.
        height: In pixels.
        bits: Bits of one pixel; of a JPEG and a WebP, 24.
        sample_bits: Bits of one channel; 8 where the kind has no other.
        least_bytes: Fewer bytes than this cannot hold so many pixels in this coding.
    """

    kind: str
    width: int
    height: int
    bits: int
    least_bytes: int = 0
    sample_bits: int = 8

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height


def read_header(content: bytes) -> ImageHeader | None:
    """Read the headers of an image file.

    Args:
        content: The bytes of the file.

    Returns:
        What they say; None when it is no PNG, JPEG, BMP, TIFF or WebP file, or they do not tell the size.
    """
    try:
        header = _read(content)
    except (struct.error, IndexError, KeyError, ValueError):  # cut off, or it contradicts itself
        return None
    return header if header is not None and header.width > 0 and header.height > 0 else None


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment of a JPEG up to its first scan; the position is that of the length.

    Raises:
        ValueError: Something stands there that no header has.
    """
    position = 2
    while True:
        if content[position] != 0xFF:
            raise ValueError("no marker")
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _JPEG_ALONE:
            raise ValueError("a marker out of place")
        (length,) = struct.unpack_from(">H", content, position + 2)
        yield marker, position + 2
        if marker == _JPEG_SCAN:
            return
        position += 2 + length


def jpeg_scans(content: bytes, most: int) -> int:
    """How many scans a JPEG has: passes over its picture. Counts to ``most`` + 1.

    Raises:
        ValueError: As `jpeg_segments`.
        struct.error: It is cut off.
    """
    *_, (_, position) = jpeg_segments(content)
    scans = 1
    while scans <= most:
        (length,) = struct.unpack_from(">H", content, position)
        found = _JPEG_MARKER.search(content, position + length)
        if found is None or content[found.start() + 1] == _JPEG_END:
            break
        scans += content[found.start() + 1] == _JPEG_SCAN
        position = found.end()
    return scans


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk of a PNG to IEND, where its data starts and where they end.

    Raises:
        struct.error: The file is cut off.
    """
    position = len(PNG_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, position + 8, position + 8 + length
        if kind == b"IEND":
            return
        position += 12 + length


def _read(content: bytes) -> ImageHeader | None:
    if content[4:8] == b"ftyp":  # a decoder may take it for AVIF, whatever it begins with
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
    depth, channels = max(tags.get(_TIFF_BITS, (1,))), max(tags.get(_TIFF_SAMPLES, (1,)))
    if tile_width * tile_height > width * height:
        width, height = tile_width, tile_height
    return ImageHeader("TIFF", width, height, depth * channels, sample_bits=depth)


def _webp(content: bytes) -> ImageHeader | None:
    (length,) = struct.unpack_from("<I", content, 4)
    sizes = list(_webp_sizes(content, 12, min(len(content), 8 + length)))
    if not sizes:
        return None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return ImageHeader("WebP", width, height, 24)


def _webp_sizes(content: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    """Canvas, frames of an animation, and what their bitstreams say themselves."""
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", content, position)
        data = position + 8
        if kind == b"VP8X":
            yield _u24(content, data + 4) + 1, _u24(content, data + 7) + 1
        elif kind == b"ANMF":
            yield _u24(content, data + 6) + 1, _u24(content, data + 9) + 1
            yield from _webp_sizes(content, data + 16, min(end, data + length))
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", content, data + 6)
            yield width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L":
            (both,) = struct.unpack_from("<I", content, data + 1)
            yield (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
        position = data + length + (length & 1)


def _u24(content: bytes, position: int) -> int:
    low, high = struct.unpack_from("<HB", content, position)
    return int(low | high << 16)
