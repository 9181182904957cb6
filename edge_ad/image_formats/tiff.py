"""TIFF files: the tags of the first directory, and the cases that a decoder reads wrongly or not at all."""

from __future__ import annotations

import struct
from typing import NamedTuple

from edge_ad.image_formats.parsing import parsed_or

__all__ = [
    "TIFF_BITS",
    "TIFF_BYTE_COUNTS",
    "TIFF_OFFSETS",
    "TIFF_SIGNATURES",
    "ShortValue",
    "as_read_by_libtiff",
    "find_short",
    "further_pages",
    "has_jpeg_inside",
    "has_next_directory",
    "read_directory",
    "undecodable",
]

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF, with 64-bit offsets
TIFF_BITS = 258
TIFF_OFFSETS, TIFF_BYTE_COUNTS = (273, 324), (279, 325)  # where pixel data lies: of strips, of tiles
_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_MOST_ENTRIES = 4096  # what libtiff reads
_MOST_VALUES = 1_000_000  # of a tag: a picture at the limit has no more strips or tiles
_COMPRESSION, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 259, 338, 339
_DECODED = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946))
_JPEG = (6, 7)
_COMPRESSIONS = {34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34887: "LERC"}
_UNASSOCIATED_ALPHA = 2


class _Layout(NamedTuple):
    start: str  # where the directory is, at byte 4 or 8
    start_at: int
    entries: str
    entry: str
    inline: int  # bytes of values that an entry itself holds


_CLASSIC, _BIG = _Layout("I", 4, "H", "HHI", 4), _Layout("Q", 8, "Q", "HHQ", 8)


def read_directory(content: bytes, wanted: frozenset[int]) -> dict[int, tuple[int, ...]]:
    """Read the tags that hold unsigned integers.

    Args:
        content: A file that begins with one of `TIFF_SIGNATURES`.
        wanted: Tags to read.

    Returns:
        Tag → its values.

    Raises:
        ValueError: It holds a wanted tag twice or with another type, or more entries or values than a reader takes.
        struct.error: It is cut off, or points beyond its end.
    """
    order, layout, directory, entries = _directory(content)
    if entries > _MOST_ENTRIES:
        raise ValueError("too many entries")
    head = struct.calcsize(order + layout.entry)
    values: dict[int, tuple[int, ...]] = {}
    for number in range(entries):
        position = directory + struct.calcsize(layout.entries) + number * (head + layout.inline)
        tag, kind, count = _unpack(order + layout.entry, content, position)
        if tag not in wanted:
            continue
        if tag in values:
            raise ValueError("a tag twice")  # readers differ in which one they take
        values[tag] = _values(content, order, position + head, kind, count, layout)
    return values


class ShortValue(NamedTuple):
    """A 16-bit value inside an entry: its position in the file, in bytes, and its value."""

    position: int
    value: int


def find_short(content: bytes, tag: int) -> ShortValue | None:
    """Find the only value of a tag that holds one 16-bit integer; None where there is no such tag.

    Raises:
        struct.error: As in `read_directory`.
    """
    order, layout, directory, entries = _directory(content)
    head = struct.calcsize(order + layout.entry)
    for number in range(min(entries, _MOST_ENTRIES)):
        position = directory + struct.calcsize(layout.entries) + number * (head + layout.inline)
        found, kind, count = _unpack(order + layout.entry, content, position)
        if (found, kind, count) == (tag, 3, 1):
            return ShortValue(position + head, _unpack(order + "H", content, position + head)[0])
    return None


def has_next_directory(content: bytes) -> bool:
    """Whether another directory follows the first: a further page.

    Raises:
        struct.error: As in `read_directory`.
    """
    order, layout, directory, entries = _directory(content)
    size = struct.calcsize(order + layout.entry) + layout.inline
    end = directory + struct.calcsize(layout.entries) + entries * size
    return bool(_unpack(order + layout.start, content, end)[0])


def _directory(content: bytes) -> tuple[str, _Layout, int, int]:
    """Byte order, layout, where the first directory is and how many entries it has."""
    order = "<" if content[:2] == b"II" else ">"
    layout = _BIG if b"+" in content[2:4] else _CLASSIC
    (directory,) = _unpack(order + layout.start, content, layout.start_at)
    (entries,) = _unpack(order + layout.entries, content, directory)
    return order, layout, directory, entries


def _values(content: bytes, order: str, position: int, kind: int, count: int, layout: _Layout) -> tuple[int, ...]:
    if kind not in _INTEGERS:
        raise ValueError("no unsigned integers")  # libtiff reads signed ones and bytes too; no writer uses them
    if count > _MOST_VALUES:
        raise ValueError("too many values")
    pattern = f"{order}{count}{_INTEGERS[kind]}"
    if struct.calcsize(pattern) > layout.inline:  # too long for the entry itself, which then holds their address
        (position,) = _unpack(order + layout.start, content, position)
    return _unpack(pattern, content, position)


def _unpack(pattern: str, content: bytes, position: int) -> tuple[int, ...]:
    if position > len(content):  # an offset of 64 bits is more than `struct` takes
        raise struct.error("an offset beyond the end")
    return struct.unpack_from(pattern, content, position)


def undecodable(content: bytes) -> str | None:
    """Why the values of a complete TIFF file cannot be used; a decoder would not report it.

    Args:
        content: The bytes of the file.

    Returns:
        What it holds, in words that follow "the file"; None when nothing is wrong, or it is not a TIFF.
    """
    if content[:4] not in TIFF_SIGNATURES:
        return None
    nothing: dict[int, tuple[int, ...]] = {}
    values = parsed_or(nothing, lambda: read_directory(content, frozenset((TIFF_BITS, _COMPRESSION, _SAMPLE_FORMAT))))
    compression = values.get(_COMPRESSION, (1,))[0]
    if compression not in _DECODED:
        name = _COMPRESSIONS.get(compression, f"number {compression}")
        return f"is compressed by a method that is not read ({name})"
    number = values.get(_SAMPLE_FORMAT, (1,))[0]
    bits = max(values.get(TIFF_BITS, (1,)))
    if number != 1 or bits > 16:
        kind = {2: "signed integers", 3: "floating-point numbers"}.get(number, "values")
        return f"holds {kind} of {bits} bits, which have no fixed range"
    return None


def further_pages(content: bytes) -> bool:
    """Whether a TIFF file holds more pictures than the first, the only one that is read."""
    return content[:4] in TIFF_SIGNATURES and parsed_or(False, lambda: has_next_directory(content))


def has_jpeg_inside(content: bytes) -> bool:
    """Whether the pixels of a TIFF file are JPEG data."""
    nothing: dict[int, tuple[int, ...]] = {}
    found = parsed_or(nothing, lambda: read_directory(content, frozenset((_COMPRESSION,))))
    return found.get(_COMPRESSION, (1,))[0] in _JPEG


def as_read_by_libtiff(content: bytes) -> bytes:
    """The file with its alpha channel, if any, relabelled as an unspecified channel.

    libtiff multiplies the colours of 8-bit photos by an unassociated alpha: transparent areas would become dark.
    """
    if content[:4] not in TIFF_SIGNATURES:
        return content
    place = parsed_or(None, lambda: find_short(content, _EXTRA_SAMPLES))
    if place is None or place.value != _UNASSOCIATED_ALPHA:
        return content
    return content[: place.position] + b"\0\0" + content[place.position + 2 :]
