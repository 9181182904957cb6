"""Completeness of image files: cut anywhere, with a thumbnail inside, and without a word on stderr."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.errors import DataError
from edge_ad.image_formats.completeness import damage
from edge_ad.images import read_image

FORMATS = (".png", ".bmp", ".tiff", ".jpg", ".webp", ".ppm")


def encoded(suffix: str, side: int = 24) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (side, side + 6, 3), np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


@given(data=st.data(), suffix=st.sampled_from(FORMATS))
def test_a_file_cut_anywhere_is_refused_or_has_every_pixel(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str
) -> None:
    content = encoded(suffix)
    path = tmp_path_factory.getbasetemp() / f"cut{suffix}"
    path.write_bytes(content)
    whole = read_image(path)
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    try:
        image = read_image(path)
    except DataError:
        return
    # The last bytes of a TIFF may point to a next page; nothing of the picture is missing without them.
    assert np.array_equal(image, whole)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.95])
def test_a_truncated_file_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, kept: float
) -> None:
    content = encoded(suffix, 64)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=path.name):
        read_image(path)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_impossible_size_is_refused_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "huge.bmp"
    path.write_bytes(struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 2**30, 2**30, 1, 24, *[0] * 6))
    with pytest.raises(DataError):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_an_embedded_thumbnail_does_not_pass_for_the_end_of_a_jpeg() -> None:
    thumbnail, photo = encoded(".jpg", 8), encoded(".jpg", 64)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = photo[:2] + segment + photo[2:]
    assert damage(whole) is None
    assert damage(whole[:-40]) == "is truncated or damaged"


@pytest.mark.parametrize("suffix", FORMATS)
def test_bytes_after_the_image_do_no_harm(suffix: str) -> None:
    assert damage(encoded(suffix) + b"\0" * 600) is None


def test_the_other_byte_order_of_tiff_is_read() -> None:
    # One entry: two strips of 4 bytes whose offsets and counts lie outside the entries.
    entries = struct.pack(">HHHII", 2, 273, 4, 2, 38) + struct.pack(">HHII", 279, 4, 2, 46)
    content = b"MM\0*" + struct.pack(">I", 8) + entries + b"\0" * 4
    arrays = struct.pack(">IIII", 54, 58, 4, 4)
    whole = content + arrays + b"pixels!!"
    assert len(content) == 38
    assert damage(whole) is None
    assert damage(whole[:-1]) == "is truncated or damaged"
    assert damage(whole[:50]) == "is truncated or damaged"


def tiff(image: np.ndarray, *, alpha: int | None = None, compression: int = 1, number: int = 1) -> bytes:
    """A TIFF of one strip; alpha is the value of ExtraSamples, number that of SampleFormat."""
    height, width, channels = image.shape
    data, offset = image.tobytes(), 8 + image.nbytes
    bits = [8 * image.dtype.itemsize] * channels
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, bits), 259: (3, [compression]), 262: (3, [2])}
    entries |= {273: (4, [8]), 277: (3, [channels]), 278: (4, [height]), 279: (4, [len(data)])}
    entries |= {} if alpha is None else {338: (3, [alpha])}
    entries |= {339: (3, [number] * channels)}
    after, lines, tail = offset + 6 + 12 * len(entries), b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, tail = struct.pack("<I", after + len(tail)), tail + packed
        lines += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", offset) + data + struct.pack("<H", len(entries)) + lines + bytes(4) + tail


@pytest.mark.parametrize("alpha", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_of_a_tiff_are_those_in_the_file_whatever_its_alpha_means(
    tmp_path: Path, alpha: int, dtype: type
) -> None:
    image = np.zeros((16, 16, 4), dtype)
    image[:] = np.array([200, 100, 50, 64]) * (257 if dtype == np.uint16 else 1)
    (tmp_path / "a.tiff").write_bytes(tiff(image, alpha=alpha))
    assert read_image(tmp_path / "a.tiff")[3, 3].tolist() == [50, 100, 200]


@pytest.mark.parametrize(
    ("dtype", "compression", "number", "said"),
    [
        (np.float32, 1, 3, "floating-point numbers of 32 bits"),
        (np.uint32, 1, 1, "values of 32 bits"),
        (np.int16, 1, 2, "signed integers of 16 bits"),
        (np.uint8, 50000, 1, "Zstandard"),
        (np.uint8, 34925, 1, "LZMA"),
        (np.uint8, 60000, 1, "number 60000"),
    ],
)
def test_a_tiff_that_no_photo_can_be_read_from_says_why(
    tmp_path: Path, dtype: type, compression: int, number: int, said: str
) -> None:
    image = np.ones((16, 16, 3), dtype)
    (tmp_path / "a.tiff").write_bytes(tiff(image, compression=compression, number=number))
    with pytest.raises(DataError, match=said):
        read_image(tmp_path / "a.tiff")
