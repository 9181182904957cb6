"""Image bombs: a few bytes that ask for gigabytes or minutes are refused, and cost neither."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.errors import DataError, UsageError
from edge_ad.image_formats.completeness import damage
from edge_ad.image_formats.headers import read_header
from edge_ad.image_limits import excess
from edge_ad.images import decode_image, read_image

_ROOM_BYTES = 400 << 20  # beside what the process has when it begins
_PROGRAM = """
import resource, sys
from pathlib import Path
from edge_ad.errors import DataError
from edge_ad.images import decode_image, read_image
before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (before + int(sys.argv[1]),) * 2)
try:
    read_image(Path(sys.argv[2]))
except DataError as error:
    print(error.message)
"""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes, *extra: bytes, depth: int = 8) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _rows(width: int, height: int) -> bytes:
    return (b"\0" + b"\x40" * (3 * width)) * height


def _encoded(suffix: str, size_hw: tuple[int, int] = (24, 30), *options: int) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    return bytes(cv2.imencode(suffix, image, options)[1].tobytes())


def _jpeg_claiming(side: int, *, progressive: bool = False) -> bytes:
    content = bytearray(_encoded(".jpg", (16, 16), cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)))
    frame = content.find(b"\xff\xc2" if progressive else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(content)


def _tiff(width: int, height: int, *tags: tuple[int, int], big: bool = False) -> bytes:
    """Little-endian, 8 bits, one strip of data that is too short; each tag an integer of 32 bits."""
    entries = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: height, 279: 8, **dict(tags)}
    rows = [struct.pack("<HHQQ" if big else "<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items())]
    body = b"".join(rows)
    if big:
        return b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(rows)) + body + bytes(8)
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + body + bytes(4)


def _tiff_of_parts(
    size_hw: tuple[int, int],
    starts: list[int],
    lengths: list[int],
    data: bytes,
    *,
    compression: int,
    tile: int = 0,
    planes: int = 1,
) -> bytes:
    """Grey or in planes, little-endian: the data at byte 8, then strips of one row or tiles, which may share them."""
    tags = {256: [size_hw[1]], 257: [size_hw[0]], 258: [8] * planes, 259: [compression], 262: [1 if planes == 1 else 2]}
    tags |= {277: [planes], 284: [1 if planes == 1 else 2]}
    tags |= {322: [tile], 323: [tile], 324: starts, 325: lengths} if tile else {273: starts, 278: [1], 279: lengths}
    body, rows = b"II*\0" + bytes(4) + data, b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        where = packed if len(values) == 1 else struct.pack("<I", len(body))
        rows += struct.pack("<HHI", tag, 4, len(values)) + where if values else b""
        body += packed if len(values) > 1 else b""
    entries = struct.pack("<H", sum(map(bool, tags.values()))) + rows + bytes(4)
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + entries


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _u24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


_VP8X = bytes([0b10, 0, 0, 0]) + _u24(19_999) + _u24(19_999)
_VP8L = b"\x2f" + struct.pack("<I", 16_382 | 16_382 << 14)
_VP8 = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383) + bytes(8)
_FRAME = bytes(6) + _u24(19_999) + _u24(19_999) + bytes(4)
_SMALL_CANVAS = bytes([0b10, 0, 0, 0]) + _u24(15) + _u24(15)
_BMP = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 62, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 1, 8, *[0] * 4) + bytes(8)

_BOMBS = {
    "JPEG": _jpeg_claiming(32_700),
    "JPEG, progressive": _jpeg_claiming(32_700, progressive=True),
    "JPEG, below the limit and too short": _jpeg_claiming(9_900),
    "PNG": _png(30_000, 30_000, zlib.compress(b"")),
    "BMP": _BMP,
    "TIFF": _tiff(30_000, 30_000),
    "TIFF, big": _tiff(30_000, 30_000, big=True),
    "TIFF, tiles larger than the picture": _tiff(16, 16, (322, 32_768), (323, 32_768), (324, 8), (325, 8)),
    "WebP, canvas": _riff((b"VP8X", _VP8X), (b"ANIM", bytes(6))),
    "WebP, lossless": _riff((b"VP8L", _VP8L)),
    "WebP, lossy": _riff((b"VP8 ", _VP8)),
    "WebP, frame of an animation": _riff((b"VP8X", _SMALL_CANVAS), (b"ANMF", _FRAME)),
    "WebP, second bitstream": _encoded(".webp")[:4] + _riff((b"VP8L", _VP8L))[4:],
}


@pytest.mark.parametrize("content", _BOMBS.values(), ids=_BOMBS)
def test_a_file_that_claims_too_many_pixels_is_refused_and_never_decoded(content: bytes) -> None:
    with pytest.raises(DataError, match="pixels"):
        decode_image(content, "bomb")


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is bounded as on Linux")
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP, lossy", "many texts"])
def test_a_bomb_is_refused_or_read_within_little_memory(tmp_path: Path, name: str) -> None:
    text = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(7_900_000), 9))
    bombs = {**_BOMBS, "many texts": _png(16, 16, zlib.compress(_rows(16, 16)), *[text] * 200)}
    path = tmp_path / "bomb.png"
    path.write_bytes(bombs[name])
    command = [sys.executable, "-c", _PROGRAM, str(_ROOM_BYTES), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("pixels" in done.stdout) == (name != "many texts")


def test_a_png_whose_data_inflate_to_more_than_its_pixels_is_refused() -> None:
    huge = zlib.compressobj(9)
    data = huge.compress(_rows(2000, 2000)) + b"".join(huge.compress(bytes(1 << 24)) for _ in range(80)) + huge.flush()
    with pytest.raises(DataError, match="more data than 2000"):
        decode_image(_png(2000, 2000, data), "bomb")
    with pytest.raises(DataError, match="more data than 16"):
        decode_image(_png(16, 16, data), "bomb")


def test_a_large_png_without_anything_wrong_is_read() -> None:
    image = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)  # above what is looked at twice
    assert np.array_equal(decode_image(bytes(cv2.imencode(".png", image)[1]), "noise"), image)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_large_jpeg_of_one_grey_is_long_enough(progressive: int) -> None:
    grey = np.full((3000, 3000, 3), 127, np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, 1]
    content = bytes(cv2.imencode(".jpg", grey, options)[1])
    assert decode_image(content, "grey").shape == grey.shape


def test_text_profiles_and_animation_of_a_png_change_nothing() -> None:
    plain = _png(16, 16, zlib.compress(_rows(16, 16)))
    text = _chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(100)))
    profile, animation = _chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100))), _chunk(b"acTL", bytes(8))
    extra = _png(16, 16, zlib.compress(_rows(16, 16)), text, profile, animation)
    assert np.array_equal(decode_image(extra, "extra"), decode_image(plain, "plain"))


def test_a_jpeg_with_a_thousand_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _encoded(".jpg", (64, 64), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode_image(content, "progressive").shape == (64, 64, 3)
    last = content.rfind(b"\xff\xda")
    comment = b"\xff\xfe\x00\x04\xff\xd9"  # what looks like the end inside a comment hides nothing
    with pytest.raises(DataError, match="scans"):
        decode_image(content[:-2] + (comment + content[last:-2]) * 1000 + b"\xff\xd9", "bomb")
    few = content[:-2] + content[last:-2] * 20 + b"\xff\xd9"
    assert decode_image(few, "small").shape == (64, 64, 3)
    monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", "4096")
    with pytest.raises(DataError, match="more than 20 scans"):  # a large picture may have fewer
        decode_image(few, "large")


@pytest.mark.parametrize("stuffed", [b"\xff\x00", b"\xff\x01", b"\xff\x02", b"\xff\xbf", b"\xff\xd0"])
def test_what_is_no_marker_with_a_length_hides_no_scan(stuffed: bytes) -> None:
    content = _encoded(".jpg", (64, 64), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = content.rfind(b"\xff\xda")
    with pytest.raises(DataError, match="scans"):
        decode_image(content[:-2] + (stuffed + content[last : last + 10]) * 1000 + b"\xff\xd9", "bomb")


@pytest.mark.parametrize("second", [0x00, *range(0x01, 0xC0, 21), 0xBF, *range(0xD0, 0xDA)])
@pytest.mark.parametrize("padding", [b"", bytes(3)])
def test_what_is_no_marker_with_a_length_does_not_hide_the_size_of_a_jpeg(second: int, padding: bytes) -> None:
    bomb, small = _jpeg_claiming(32_700), _encoded(".jpg", (16, 16))
    for length in (b"", struct.pack(">H", len(bomb))):  # as if it were a segment with the bomb inside
        content = small[:20] + padding + bytes([0xFF, second]) + length + bomb[2:] + small[20:]
        assert read_header(content) is None
        with pytest.raises(DataError):
            decode_image(content, "bomb")


def test_zeros_and_fill_bytes_between_the_segments_of_a_jpeg_are_passed_over() -> None:
    content = _encoded(".jpg")
    table = content.find(b"\xff\xdb")
    padded = content[:table] + bytes(5) + b"\xff" * 500_000 + content[table:]
    assert np.array_equal(decode_image(padded, "padded"), decode_image(content, "plain"))
    bomb = _jpeg_claiming(32_700)
    with pytest.raises(DataError, match="pixels"):
        decode_image(content[:table] + bytes(5) + bomb[2:], "bomb")


@pytest.mark.parametrize("kind", ["JPEG", "JPEG, between scans", "PNG", "WebP", "WebP, in frames"])
def test_a_file_of_very_many_empty_segments_is_refused(kind: str) -> None:
    many = 210_000
    jpeg = _encoded(".jpg", (64, 64), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    png, webp = _encoded(".png"), _encoded(".webp")
    picture, frames = (b"VP8 ", webp[20:]), [(b"ANMF", bytes(16) + b"none\0\0\0\0" * 10)] * (many // 10)
    content = {
        "JPEG": jpeg[:2] + b"\xff\xfe\x00\x02" * many + jpeg[2:],
        "JPEG, between scans": jpeg[:-2] + b"\xff\xfe\x00\x02" * many + jpeg[-2:],
        "PNG": png[:33] + _chunk(b"teXt", b"") * many + png[33:],
        "WebP": _riff(picture, *[(b"none", b"")] * many),
        "WebP, in frames": _riff((b"VP8X", _SMALL_CANVAS), *frames),
    }[kind]
    assert (damage(content) or excess(content)) is not None
    with pytest.raises(DataError):
        decode_image(content, "bomb")


def test_a_webp_with_frames_inside_frames_is_refused() -> None:
    nested = b""
    for _ in range(2000):
        nested = b"ANMF" + struct.pack("<I", 16 + len(nested)) + bytes(16) + nested
    with pytest.raises(DataError):
        decode_image(_riff((b"VP8X", _SMALL_CANVAS), (b"ANMF", bytes(16) + nested)), "bomb")


def test_a_tiff_whose_tiles_lie_mostly_outside_its_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", "10000")
    data = zlib.compress(bytes(96 * 96))
    parts = _tiff_of_parts((960, 8), [8] * 10, [len(data)] * 10, data * 5, compression=8, tile=96)
    with pytest.raises(DataError, match="tiles of 92,160 pixels"):
        decode_image(parts, "bomb")


@pytest.mark.parametrize("has_lengths", [True, False])
def test_a_tiff_whose_strips_are_the_same_bytes_is_refused(has_lengths: bool) -> None:
    data = zlib.compress(bytes(16)) + bytes(4000)
    lengths = [len(data)] * 500 if has_lengths else []
    parts = _tiff_of_parts((500, 16), [8] * 500, lengths, data, compression=8)
    with pytest.raises(DataError, match="overlap"):
        decode_image(parts, "bomb")


@pytest.mark.parametrize("kind", [1, 6, 8, 9, 13, 17])
def test_a_tiff_with_strips_told_by_numbers_of_a_rare_type_is_refused(kind: int) -> None:
    content = _tiff(16, 16)
    counts = content.find(struct.pack("<HH", 279, 4))
    with pytest.raises(DataError):
        decode_image(content[: counts + 2] + struct.pack("<H", kind) + content[counts + 4 :], "bomb")


@pytest.mark.parametrize("side", [9999, 500])
def test_a_tiff_with_tiles_of_512_pixels_is_within_the_limits(side: int) -> None:
    tiles = (-(-side // 512)) ** 2
    data = bytes(4000)
    parts = _tiff_of_parts(
        (side, side), [8 + 10 * number for number in range(tiles)], [10] * tiles, data, compression=8, tile=512
    )
    assert (damage(parts), excess(parts)) == (None, None)


def test_a_tiff_in_separate_planes_or_with_several_pages_is_read() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    is_written, pages = cv2.imencodemulti(".tiff", [image, image[::-1].copy()])
    assert is_written
    assert np.array_equal(decode_image(pages.tobytes(), "pages"), image)
    rows = [8 + 30 * number for number in range(3 * 24)]
    rgb = image[..., ::-1].transpose(2, 0, 1).tobytes()
    planes = _tiff_of_parts((24, 30), rows, [30] * len(rows), rgb, compression=1, planes=3)
    assert np.array_equal(decode_image(planes, "planes"), image)


_FARTHEST = [(1 << 64) - 1, (1 << 63) - 1, 1 << 63, 1 << 40]


@pytest.mark.parametrize("far", _FARTHEST)
@pytest.mark.parametrize("place", ["directory", "entries", "values", "count"])
def test_a_tiff_that_points_far_beyond_its_end_is_refused(place: str, far: int) -> None:
    entry = struct.pack("<HHQQ", 273, 16, far if place == "count" else 2, far if place == "values" else 16)
    start, entries = (far if place == name else number for name, number in (("directory", 16), ("entries", 1)))
    content = b"II+\0" + struct.pack("<HHQQ", 8, 0, start, entries) + entry + bytes(64)
    assert damage(content) is not None
    assert read_header(content) is None
    assert excess(content) is not None
    with pytest.raises(DataError):
        decode_image(content, "far")


def test_a_tiff_that_says_its_width_twice_is_refused() -> None:
    content = bytearray(_tiff(16, 16))
    content[10 + 12 : 10 + 24] = struct.pack("<HHII", 256, 4, 1, 30_000)
    with pytest.raises(DataError):
        decode_image(bytes(content), "bomb")


@pytest.mark.parametrize("suffix", [".hdr", ".gif", ".avif", ".ras", ".pfm"])
def test_a_format_whose_size_is_not_known_beforehand_is_not_decoded(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((16, 16, 3), np.float32 if suffix in {".hdr", ".pfm"} else np.uint8)
    is_written, content = cv2.imencode(suffix, image)
    assert is_written
    path = tmp_path / "photo.png"
    path.write_bytes(content.tobytes())
    with pytest.raises(DataError, match="Not an image"):
        read_image(path)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([".png", ".jpg", ".bmp", ".tiff", ".webp", ".ppm"]))
def test_the_size_in_the_header_is_that_of_the_decoded_image(height: int, width: int, suffix: str) -> None:
    content = _encoded(suffix, (height, width))
    header = read_header(content)
    assert header is not None
    assert (header.height, header.width) == decode_image(content, "image").shape[:2]


@given(st.sampled_from(sorted(_BOMBS)), st.data())
def test_headers_of_any_bytes_are_read_without_failing(name: str, data: st.DataObject) -> None:
    content = bytearray(_BOMBS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at, byte, times = (data.draw(st.integers(0, most)) for most in (len(content) - 1, 255, 8))
        content[at : at + times] = bytes([byte]) * times
    for look in (damage, read_header, excess):
        look(bytes(content))


def test_the_limit_can_be_set_and_a_wrong_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _encoded(".png", (24, 30))
    monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", "719")
    with pytest.raises(DataError, match="the limit is 719"):
        decode_image(content, "photo")
    monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", "720")
    assert decode_image(content, "photo").shape == (24, 30, 3)
    for wrong in ("many", "-1", "0", "1e9"):
        monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", wrong)
        with pytest.raises(UsageError, match="EDGE_AD_MAX_IMAGE_PIXELS"):
            decode_image(content, "photo")


def test_a_file_that_no_picture_could_fill_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", "1000")
    path = tmp_path / "photo.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    with pytest.raises(DataError, match="larger than"):
        read_image(path)
