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
from edge_ad.image_headers import read_header
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


@pytest.mark.parametrize("hidden", [b"\xff\x01", b"\xff\xd0", b"\xff\xd8"])
def test_a_marker_without_length_does_not_hide_the_size_of_a_jpeg(hidden: bytes) -> None:
    bomb = _jpeg_claiming(32_700)
    small = _encoded(".jpg", (16, 16))
    with pytest.raises(DataError):
        decode_image(bomb[:2] + hidden + bomb[2:] + small[2:], "bomb")


def test_a_tiff_that_says_its_width_twice_is_refused() -> None:
    content = bytearray(_tiff(16, 16))
    content[10 + 12 : 10 + 24] = struct.pack("<HHII", 256, 4, 1, 30_000)
    with pytest.raises(DataError):
        decode_image(bytes(content), "bomb")


@pytest.mark.parametrize("suffix", [".ppm", ".hdr", ".gif", ".avif", ".ras", ".pfm"])
def test_a_format_whose_size_is_not_known_beforehand_is_not_decoded(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((16, 16, 3), np.float32 if suffix in {".hdr", ".pfm"} else np.uint8)
    is_written, content = cv2.imencode(suffix, image)
    assert is_written
    path = tmp_path / "photo.png"
    path.write_bytes(content.tobytes())
    with pytest.raises(DataError, match="Not an image"):
        read_image(path)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([".png", ".jpg", ".bmp", ".tiff", ".webp"]))
def test_the_size_in_the_header_is_that_of_the_decoded_image(height: int, width: int, suffix: str) -> None:
    content = _encoded(suffix, (height, width))
    header = read_header(content)
    assert header is not None
    assert (header.height, header.width) == decode_image(content, "image").shape[:2]


@given(st.sampled_from(sorted(_BOMBS)), st.data())
def test_headers_of_any_bytes_are_read_without_failing(name: str, data: st.DataObject) -> None:
    content = bytearray(_BOMBS[name])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read_header(bytes(content))


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
