"""Whether an image file is complete, told from its structure: decoders fill what is missing with grey."""

from __future__ import annotations

import struct
import zlib

from edge_ad.image_headers import PNG_SIGNATURE, jpeg_segments, parsed_or, png_chunks, read_header
from edge_ad.tiff_directory import TIFF_SIGNATURES, find_short, has_next_directory, read_directory

__all__ = ["as_read_by_libtiff", "damage", "further_pages", "is_lossy", "undecodable"]

_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Tags of the first directory that say where pixel data lies: offsets → byte counts, as strips or as tiles.
_TIFF_DATA = {273: 279, 324: 325}
_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_EXTRA_SAMPLES, _TIFF_SAMPLE_FORMAT = 258, 259, 338, 339
_TIFF_KIND = frozenset((_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_SAMPLE_FORMAT))
_TIFF_DECODED = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946))
_TIFF_JPEG = (6, 7)
_TIFF_COMPRESSIONS = {34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34887: "LERC"}
_UNASSOCIATED_ALPHA = 2
_TIFF_TAGS = frozenset(_TIFF_DATA) | frozenset(_TIFF_DATA.values())


def damage(content: bytes) -> str | None:
    """Say what is wrong with an image file, without decoding it.

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
    values = read_directory(content, _TIFF_TAGS)
    for offsets, counts in _TIFF_DATA.items():
        for offset, count in zip(values.get(offsets, ()), values.get(counts, ()), strict=False):
            if offset + count > len(content):
                return False
    return True


def undecodable(content: bytes) -> str | None:
    """Say why a whole TIFF file is one that no value of a photo can be read from, before a decoder says nothing.

    Args:
        content: The bytes of the file.

    Returns:
        What it holds, in words that follow "the file"; None when nothing is wrong, or it is no TIFF.
    """
    if content[:4] not in TIFF_SIGNATURES:
        return None
    nothing: dict[int, tuple[int, ...]] = {}
    values = parsed_or(nothing, lambda: read_directory(content, _TIFF_KIND))
    compression = values.get(_TIFF_COMPRESSION, (1,))[0]
    if compression not in _TIFF_DECODED:
        name = _TIFF_COMPRESSIONS.get(compression, f"number {compression}")
        return f"is compressed by a method that is not read ({name})"
    number = values.get(_TIFF_SAMPLE_FORMAT, (1,))[0]
    bits = max(values.get(_TIFF_BITS, (1,)))
    if number != 1 or bits > 16:
        kind = {2: "signed integers", 3: "floating-point numbers"}.get(number, "values")
        return f"holds {kind} of {bits} bits, which have no fixed range"
    return None


def further_pages(content: bytes) -> bool:
    """Whether a TIFF file holds more pictures than the first, the only one that is read."""
    return content[:4] in TIFF_SIGNATURES and parsed_or(False, lambda: has_next_directory(content))


def is_lossy(content: bytes) -> bool:
    """Whether the values of an image file are not exact: JPEG, lossy WebP, or TIFF with JPEG inside."""
    if content[:4] in TIFF_SIGNATURES:
        nothing: dict[int, tuple[int, ...]] = {}
        found = parsed_or(nothing, lambda: read_directory(content, frozenset((_TIFF_COMPRESSION,))))
        return found.get(_TIFF_COMPRESSION, (1,))[0] in _TIFF_JPEG
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return b"VP8 " in content[:64] or (b"VP8X" in content[:64] and b"VP8L" not in content[:4096])
    return content.startswith(b"\xff\xd8\xff")


def as_read_by_libtiff(content: bytes) -> bytes:
    """The file with its alpha channel, if it has one, called a channel without a meaning.

    libtiff multiplies the colours of 8-bit photos with an unassociated alpha: what a camera or an editor saved as
    transparent would become dark.
    """
    if content[:4] not in TIFF_SIGNATURES:
        return content
    place = parsed_or(None, lambda: find_short(content, _TIFF_EXTRA_SAMPLES))
    if place is None or place.value != _UNASSOCIATED_ALPHA:
        return content
    return content[: place.position] + b"\0\0" + content[place.position + 2 :]
