"""Whether an image file is complete, told from its structure: decoders fill what is missing with grey."""

from __future__ import annotations

import struct
import zlib

__all__ = ["damage"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_TIFF_SIGNATURES = {b"II*\0": "<", b"MM\0*": ">"}
# Tags of the first directory that say where pixel data lies: offsets → byte counts, as strips or as tiles.
_TIFF_DATA = {273: 279, 324: 325}
_TIFF_INTEGERS = {3: "H", 4: "I"}


def damage(content: bytes) -> str | None:
    """Say what is wrong with an image file, without decoding it.

    PNG: every chunk up to IEND is there and the checksums of the critical ones hold. JPEG: the end-of-image marker
    follows the scan data. BMP, TIFF and WebP: the pixel data that the header announces lies inside the file.

    Args:
        content: The bytes of the file.

    Returns:
        What is wrong, in words that follow "the file"; None when nothing is, or the format is not one of these.
    """
    if not content:
        return "is empty"
    try:
        complete = _is_complete(content)
    except (struct.error, IndexError):  # the header itself is cut off
        complete = False
    return None if complete else "is truncated or damaged"


def _is_complete(content: bytes) -> bool:
    if content.startswith(_PNG_SIGNATURE):
        return _png_is_complete(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg_is_complete(content)
    if content.startswith(b"BM"):
        return _bmp_is_complete(content)
    if content[:4] in _TIFF_SIGNATURES:
        return _tiff_is_complete(content, _TIFF_SIGNATURES[content[:4]])
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return len(content) >= 8 + int(struct.unpack_from("<I", content, 4)[0])
    return True


def _png_is_complete(content: bytes) -> bool:
    position = len(_PNG_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", content, end)
        if kind in _PNG_CRITICAL and zlib.crc32(memoryview(content)[position + 4 : end]) != checksum:
            return False
        if kind == b"IEND":
            return True
        position = end + 4


def _jpeg_is_complete(content: bytes) -> bool:
    # An Exif thumbnail carries its own end marker, so segments are walked up to the first scan before looking for it.
    position = 2
    while True:
        if content[position] != 0xFF:
            return False
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", content, position + 2)
        position += 2 + length
        if marker == 0xDA:
            return content.find(b"\xff\xd9", position) >= 0


def _bmp_is_complete(content: bytes) -> bool:
    data_offset, header_size = struct.unpack_from("<II", content, 10)
    if header_size < 40:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        compression = 0
    else:
        width, height, _, bits, compression, image_size = struct.unpack_from("<iiHHII", content, 18)
    if compression not in (0, 3):
        return len(content) >= int(data_offset + image_size)
    return len(content) >= int(data_offset + (width * bits + 31) // 32 * 4 * abs(height))


def _tiff_is_complete(content: bytes, order: str) -> bool:
    (directory,) = struct.unpack_from(order + "I", content, 4)
    (entries,) = struct.unpack_from(order + "H", content, directory)
    values: dict[int, tuple[int, ...]] = {}
    for entry in range(entries):
        position = directory + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(order + "HHI", content, position)
        if kind in _TIFF_INTEGERS and (tag in _TIFF_DATA or tag in _TIFF_DATA.values()):
            values[tag] = _tiff_values(content, order, position + 8, _TIFF_INTEGERS[kind], count)
    for offsets, counts in _TIFF_DATA.items():
        for offset, count in zip(values.get(offsets, ()), values.get(counts, ()), strict=False):
            if offset + count > len(content):
                return False
    return True


def _tiff_values(content: bytes, order: str, position: int, letter: str, count: int) -> tuple[int, ...]:
    layout = f"{order}{count}{letter}"
    if struct.calcsize(layout) > 4:  # too long for the entry itself, which then holds their address
        (position,) = struct.unpack_from(order + "I", content, position)
    return struct.unpack_from(layout, content, position)
