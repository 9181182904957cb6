"""TensorRT's calibration cache, against the text that TensorRT itself writes."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ad.export.tensorrt.calibration_cache import LEVELS, cache_version, read_cache, write_cache
from edge_ad.errors import UsageError

# As TensorRT 7.2.2 wrote it, with its own name for a tensor that has none.
GENUINE = b"""TRT-7202-EntropyCalibration2
data: 3c008912
conv1: 3c60dd38
(Unnamed Layer* 4) [Fully Connected]_output: 3d65992f
input_1:0: 3c010a14
"""


def test_a_genuine_cache_is_read() -> None:
    cache = read_cache(GENUINE)
    assert (cache.version, cache.algorithm) == (7202, "EntropyCalibration2")
    assert list(cache.scales) == ["data", "conv1", "(Unnamed Layer* 4) [Fully Connected]_output", "input_1:0"]
    assert cache.scales["data"] == struct.unpack(">f", bytes.fromhex("3c008912"))[0]
    assert cache.scales["data"] * LEVELS == pytest.approx(0.9964, abs=1e-4)  # pixels in [0, 1]


def test_what_is_written_has_the_genuine_form() -> None:
    assert write_cache({"sigmoid": 1.0, "input_1:0": 127.0}, "10.3.0") == (
        b"TRT-100300-EntropyCalibration2\nsigmoid: 3c010204\ninput_1:0: 3f800000\n"
    )


@pytest.mark.parametrize(
    ("version", "number"), [("8.6.1", 8601), ("8.5.2.2", 8502), ("10.3.0", 100300), ("10.13.3.9", 101303)]
)
def test_the_version_is_numbered_as_tensorrt_does(version: str, number: int) -> None:
    assert cache_version(version) == number


@settings(max_examples=30)
@given(st.dictionaries(st.from_regex(r"\A[\w/.:() ]*\w\Z"), st.floats(0, 1e6), max_size=8))
def test_what_is_written_is_read_back(clips: dict[str, float]) -> None:
    clips = {name: clip for name, clip in clips.items() if name == name.strip() and name.isprintable()}
    scales = read_cache(write_cache(clips, "8.6.1")).scales
    assert list(scales) == list(clips)
    assert all(scales[name] * LEVELS == pytest.approx(clip, rel=1e-6, abs=1e-30) for name, clip in clips.items())


def test_a_range_of_zero_gets_a_scale_that_can_divide() -> None:
    assert read_cache(write_cache({"x": 0.0}, "8.6.1")).scales["x"] > 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no calibration cache"),
        (b"{}\n", "no calibration cache"),
        (b"TRT-8601-EntropyCalibration2\nx: 1.5\n", "Line 2"),
        (b"TRT-8601-EntropyCalibration2\nx: 3f800000\ny\n", "Line 3"),
    ],
)
def test_something_else_is_refused_with_its_line(content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_cache(content)


@pytest.mark.parametrize(("name", "clip"), [("x", float("nan")), ("x", -1.0), ("", 1.0), ("a\nb", 1.0)])
def test_a_range_that_is_none_is_not_written(name: str, clip: float) -> None:
    with pytest.raises(UsageError, match="cannot have the range"):
        write_cache({name: clip}, "8.6.1")


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no TensorRT version"):
        cache_version("new")
