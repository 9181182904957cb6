"""What the bytes of an image file say before they are decoded: its format and size, and whether it is whole."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

__all__ = [
    "PNG_SIGNATURE",
    "TIFF_SIGNATURES",
    "ImageHeader",
    "ShortValue",
    "as_read_by_libtiff",
    "damage",
    "find_short",
    "further_pages",
    "has_next_directory",
    "is_lossy",
    "jpeg_scans",
    "jpeg_segments",
    "parsed_or",
    "png_chunks",
    "read_directory",
    "read_header",
    "undecodable",
]

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF, with 64-bit offsets
_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_MOST_ENTRIES = 4096  # what libtiff reads
_MOST_VALUES = 1_000_000  # of a tag: a picture at the limit has no more strips or tiles
_Answer = TypeVar("_Answer")

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Start of frame: all but C4, C8 and CC. From C9 on the coding is arithmetic, which spends less than a bit on a block.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_HUFFMAN = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_SCAN = 0xDA
# Markers that have a length: no other belongs before the first scan. In front of one stand fill bytes, and zeros of
# cameras that align their segments; libjpeg skips FF 00 too, and reads what it then finds.
_JPEG_SEGMENT = re.compile(rb"\x00*\xff+([\xc0-\xcf\xda-\xfe])")
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # after the data of a scan; decoders skip all others
_JPEG_END = 0xD9
_GAP = rb"(?:[ \t\r\n]|#[^\r\n]*[\r\n])+"
# Binary grey (P5) and colour (P6) alone: kind, width, height, highest value, and the one byte before the pixels.
_PNM_HEADER = re.compile(rb"P([56])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})[ \t\r\n]")
_MOST_SEGMENTS = 200_000  # segments or chunks of a file; a PNG at the limit has up to 100,000 of 8 KiB
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES, _TIFF_TILES = 256, 257, 258, 277, (322, 323)
_TIFF_OFFSETS, _TIFF_COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_TIFF_TAGS = frozenset({_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES})
_TIFF_TAGS |= frozenset({*_TIFF_TILES, *_TIFF_OFFSETS, *_TIFF_COUNTS})
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Tags of the first directory that say where pixel data lies: offsets → byte counts, as strips or as tiles.
_TIFF_DATA = {273: 279, 324: 325}
_TIFF_COMPRESSION, _TIFF_EXTRA_SAMPLES, _TIFF_SAMPLE_FORMAT = 259, 338, 339
_TIFF_KIND = frozenset((_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_SAMPLE_FORMAT))
_TIFF_DECODED = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946))
_TIFF_JPEG = (6, 7)
_TIFF_COMPRESSIONS = {34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34887: "LERC"}
_UNASSOCIATED_ALPHA = 2
_TIFF_PLACES = frozenset(_TIFF_DATA) | frozenset(_TIFF_DATA.values())


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


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture.

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


def parsed_or(otherwise: _Answer, parse: Callable[[], _Answer]) -> _Answer:
    """What ``parse`` makes of a file, or ``otherwise`` where it fails.

    Whatever is raised (a number too large for an offset, too deep a nesting, too little memory) says something about
    the bytes of others, and must not end the program that was given them.
    """
    try:
        return parse()
    except Exception:
        return otherwise


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
    depth, channels = max(tags.get(_TIFF_BITS, (1,))), max(tags.get(_TIFF_SAMPLES, (1,)))
    coded_pixels = -(-width // tile_width) * tile_width * (-(-height // tile_height) * tile_height)
    # Of strips without lengths, libtiff takes the rest of the file for each.
    lengths, parts = ([value for tag in of for value in tags.get(tag, ())] for of in (_TIFF_COUNTS, _TIFF_OFFSETS))
    coded_bytes = sum(lengths) + max(0, len(parts) - len(lengths)) * len(content)
    if tile_width * tile_height > width * height:
        width, height = tile_width, tile_height
    return ImageHeader("TIFF", width, height, depth * channels, 0, depth, coded_pixels, coded_bytes)


def _pnm(content: bytes) -> ImageHeader | None:
    if (found := _PNM_HEADER.match(content)) is None:
        return None
    kind, width, height, highest = (int(number) for number in found.groups())
    if not 255 <= highest <= 65535:  # a decoder does not stretch fewer values to the whole range
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
    values = read_directory(content, _TIFF_PLACES)
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
