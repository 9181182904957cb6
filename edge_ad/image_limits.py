"""Limits on the cost of decoding an image: a few hundred bytes can demand gigabytes of memory or minutes of time."""

from __future__ import annotations

import os
import zlib

from edge_ad.errors import UsageError
from edge_ad.image_formats.headers import PNG_SIGNATURE, ImageHeader, jpeg_scans, png_chunks, read_header
from edge_ad.image_formats.parsing import parsed_or

__all__ = ["MAX_PIXELS", "excess", "largest_file", "pixel_limit", "without_metadata"]

MAX_PIXELS = 100_000_000
_VARIABLE = "EDGE_AD_MAX_IMAGE_PIXELS"
_MOST_DIGITS = 18
_MOST_SCANS = 100  # of a progressive JPEG, each of which is a pass over the whole picture; encoders write ten
_MOST_PASSES = 20  # of a picture at the limit; a smaller one may have more, to `_MOST_SCANS`
_MOST_BITS, _MOST_SAMPLE_BITS = 64, 16  # of a pixel, and of one of its channels
_MOST_TILES = 2  # pixels of all tiles, in pictures at the limit: those at the border are decoded whole
_MOST_READINGS = (
    4  # bytes of all strips or tiles, in sizes of the file: where they overlap, a byte is decoded repeatedly
)
_SLACK_BYTES = 1 << 16
# Deflate grows a byte to 1032 at most: so few compressed bytes cannot take long, and need not be looked at twice.
_HARMLESS_DEFLATE = 1 << 20
_SLICE = 1 << 16
# Chunks that affect the pixels. The rest is text, colour profiles and animation, which a decoder may still inflate.
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
_PNG_LONGEST_EXIF = 1 << 16


def pixel_limit() -> int:
    """Most pixels of an image to decode: `MAX_PIXELS`, or the value of EDGE_AD_MAX_IMAGE_PIXELS.

    Raises:
        UsageError: The variable holds no whole number above 0.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) > 0):
        raise UsageError(f"{_VARIABLE} is {text!r}, no number of pixels.", f"Such as {MAX_PIXELS}.")
    return int(text)


def largest_file() -> int:
    """Most bytes of an image file to read: those of its pixels uncompressed, with four channels of 16 bits."""
    return 8 * pixel_limit() + _SLACK_BYTES


def excess(content: bytes) -> str | None:
    """Why an image file is too expensive to decode, found without decoding it.

    Args:
        content: The bytes of the file.

    Returns:
        What is wrong, in words that follow "the file"; None when decoding it costs no more than its pixels do.

    Raises:
        UsageError: As `pixel_limit`.
    """
    limit = pixel_limit()
    damaged: str | None = "is truncated or damaged"
    return parsed_or(damaged, lambda: _excess(content, limit))


def _excess(content: bytes, limit: int) -> str | None:
    header = read_header(content)
    if header is None:
        return "does not tell the size of a PNG, JPEG, BMP, TIFF, WebP, PGM or PPM image"
    if header.pixels > limit:
        return f"claims {header.width} × {header.height} pixels; the limit is {limit:,}"
    if len(content) < header.least_bytes:
        return f"is truncated or damaged: it is too short for {header.width} × {header.height} pixels"
    if header.kind == "PNG":
        return _png_excess(content, header)
    most_scans = min(_MOST_SCANS, _MOST_PASSES * limit // header.pixels)
    if header.kind == "JPEG" and jpeg_scans(content, most_scans) > most_scans:
        return f"has more than {most_scans} scans"
    if header.coded_pixels > _MOST_TILES * limit:
        return f"has tiles of {header.coded_pixels:,} pixels together for {header.width} × {header.height} pixels"
    if header.coded_bytes > _MOST_READINGS * len(content):
        return "has strips or tiles that overlap, or that do not tell their length"
    if header.sample_bits > _MOST_SAMPLE_BITS or header.bits > _MOST_BITS:
        return f"has pixels of {header.bits} bits, which have no fixed range"
    return None


def without_metadata(content: bytes) -> bytes:
    """A PNG file with only the chunks that affect its pixels; any other file unchanged.

    Raises:
        struct.error: A PNG that is cut off.
        ValueError: As `png_chunks`.
    """
    if not content.startswith(PNG_SIGNATURE):
        return content
    chunks = list(png_chunks(content))
    kept = [chunk for chunk in chunks if _is_kept(*chunk)]
    if len(kept) == len(chunks):
        return content
    return PNG_SIGNATURE + b"".join(content[start - 8 : end + 4] for _, start, end in kept)


def _is_kept(kind: bytes, start: int, end: int) -> bool:
    return kind in _PNG_KEPT and (kind != b"eXIf" or end - start <= _PNG_LONGEST_EXIF)


def _png_excess(content: bytes, header: ImageHeader) -> str | None:
    data = [(start, end) for kind, start, end in png_chunks(content) if kind == b"IDAT"]
    # A byte for each row names its filter, and each of the seven passes of an interlaced picture rounds rows up.
    needed = header.height * (header.width * header.bits // 8 + 1) + 8 * header.height + 8 * header.width
    most, compressed = 2 * needed + _SLACK_BYTES, sum(end - start for start, end in data)
    if compressed > most or (compressed > _HARMLESS_DEFLATE and not _inflates_within(content, data, most)):
        return f"holds more data than {header.width} × {header.height} pixels need"
    return None


def _inflates_within(content: bytes, data: list[tuple[int, int]], most: int) -> bool:
    inflater, total = zlib.decompressobj(), 0
    for start, end in data:
        for position in range(start, end, _SLICE):
            try:
                total += len(inflater.decompress(content[position : min(end, position + _SLICE)]))
            except zlib.error:
                return True  # damaged, which the decoder finds at the same place
            if total > most:
                return False
    return True
