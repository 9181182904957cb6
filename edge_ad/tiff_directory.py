"""The first directory of a TIFF file: the numbers that say how large its picture is and where its pixels lie."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["TIFF_SIGNATURES", "ShortValue", "find_short", "has_next_directory", "read_directory"]

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF, with 64-bit offsets
_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_MOST_ENTRIES = 4096  # what libtiff reads
_MOST_VALUES = 1_000_000  # of a tag: a picture at the limit has no more strips or tiles


class _Layout(NamedTuple):
    start: str  # where the directory is, at byte 4 or 8
    start_at: int
    entries: str
    entry: str
    room: int  # bytes of values that an entry itself holds


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
        position = directory + struct.calcsize(layout.entries) + number * (head + layout.room)
        tag, kind, count = _unpack(order + layout.entry, content, position)
        if tag not in wanted:
            continue
        if tag in values:
            raise ValueError("a tag twice")  # readers differ in which one they take
        values[tag] = _values(content, order, position + head, kind, count, layout)
    return values


class ShortValue(NamedTuple):
    """A 16-bit value inside an entry: where it is in the file, in bytes, and what it is."""

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
        position = directory + struct.calcsize(layout.entries) + number * (head + layout.room)
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
    size = struct.calcsize(order + layout.entry) + layout.room
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
    if struct.calcsize(pattern) > layout.room:  # too long for the entry itself, which then holds their address
        (position,) = _unpack(order + layout.start, content, position)
    return _unpack(pattern, content, position)


def _unpack(pattern: str, content: bytes, position: int) -> tuple[int, ...]:
    if position > len(content):  # an offset of 64 bits is more than `struct` takes
        raise struct.error("an offset beyond the end")
    return struct.unpack_from(pattern, content, position)
