"""Checks whether an image file is complete, without decoding it."""

from __future__ import annotations

import struct
import zlib

from edge_ad.image_formats.headers import PNG_SIGNATURE, jpeg_segments, png_chunks, read_header
from edge_ad.image_formats.parsing import parsed_or
from edge_ad.image_formats.tiff import TIFF_BYTE_COUNTS, TIFF_OFFSETS, TIFF_SIGNATURES, read_directory

__all__ = ["damage"]

_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def damage(content: bytes) -> str | None:
    """Why an image file is incomplete or damaged, found without decoding it.

    PNG: every chunk up to IEND is there and the checksums of the critical ones hold. JPEG: the end-of-image marker
    follows the scan data. BMP, TIFF, WebP, PGM and PPM: the pixel data that the header announces lies inside the file.

    Args:
        content: The bytes of the file.

    Returns:
        What is wrong, in words that follow "the file"; None when nothing is, or the format is not one of these.
    """
    if not content:
        return "is empty"
    # Where the header itself is cut off or contradicts itself, the file is damaged.
    return None if parsed_or(False, lambda: _is_complete(content)) else "is truncated or damaged"


def _is_complete(content: bytes) -> bool:
    if content.startswith(PNG_SIGNATURE):
        return _png_is_complete(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg_is_complete(content)
    if content.startswith(b"BM"):
        return _bmp_is_complete(content)
    if content[:4] in TIFF_SIGNATURES:
        return _tiff_is_complete(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return len(content) >= 8 + int(struct.unpack_from("<I", content, 4)[0])
    if content[:2] in (b"P5", b"P6") and (header := read_header(content)) is not None:
        return len(content) >= header.least_bytes
    return True


def _png_is_complete(content: bytes) -> bool:
    for kind, start, end in png_chunks(content):
        (checksum,) = struct.unpack_from(">I", content, end)
        if kind in _PNG_CRITICAL and zlib.crc32(memoryview(content)[start - 4 : end]) != checksum:
            return False
    return True


def _jpeg_is_complete(content: bytes) -> bool:
    # An Exif thumbnail carries its own end marker, so segments are walked up to the first scan before looking for it.
    *_, (_, position) = jpeg_segments(content)
    (length,) = struct.unpack_from(">H", content, position)
    return content.find(b"\xff\xd9", position + length) >= 0


def _bmp_is_complete(content: bytes) -> bool:
    data_offset, header_size = struct.unpack_from("<II", content, 10)
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        compression = 0
    else:
        width, height, _, bits, compression, image_size = struct.unpack_from("<iiHHII", content, 18)
    if compression not in (0, 3):
        return len(content) >= int(data_offset + image_size)
    return len(content) >= int(data_offset + (width * bits + 31) // 32 * 4 * abs(height))


def _tiff_is_complete(content: bytes) -> bool:
    values = read_directory(content, frozenset(TIFF_OFFSETS + TIFF_BYTE_COUNTS))
    for offsets, counts in zip(TIFF_OFFSETS, TIFF_BYTE_COUNTS, strict=True):
        for offset, count in zip(values.get(offsets, ()), values.get(counts, ()), strict=False):
            if offset + count > len(content):
                return False
    return True
