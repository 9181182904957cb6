"""TensorRT's calibration cache: ranges of tensors as text, for the builds that take no Q/DQ nodes.

    TRT-100300-EntropyCalibration2
    image: 3f800000
    relu6_1: 3d3c3a5b

The first line names the version and the algorithm, and TensorRT refuses the file of another; each further line is a
tensor and its scale, the magnitude of level 127 divided by 127, as the hex digits of a big-endian float32.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from edge_ad.errors import UsageError

__all__ = ["LEVELS", "TensorRtCache", "cache_version", "read_cache", "write_cache"]

LEVELS = 127
_ALGORITHM = "EntropyCalibration2"
_HEADER = re.compile(r"TRT-(?P<version>\d+)-(?P<algorithm>\w+)")
_ENTRY = re.compile(r"(?P<tensor>.+): (?P<scale>[0-9a-fA-F]{8})")  # names may hold colons themselves


@dataclass(frozen=True)
class TensorRtCache:
    """Content of a calibration cache.

    Attributes:
        version: Version of TensorRT as its headers number it, such as 8601 or 100300.
        algorithm: The calibrator that wrote it.
        scales: Tensor → scale, greater than 0.
    """

    version: int
    algorithm: str
    scales: dict[str, float]


def cache_version(version: str) -> int:
    """The number of a TensorRT version in its caches: ``"8.6.1"`` → 8601, ``"10.3.0"`` → 100300.

    Raises:
        UsageError: Not a version.
    """
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None:
        raise UsageError(f"{version!r} is no TensorRT version.")
    major, minor, patch = (int(number) for number in numbers.groups())
    # The factors changed with TensorRT 10, whose minor versions have two digits.
    return major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch


def write_cache(clips: Mapping[str, float], version: str) -> bytes:
    """Write ranges as a calibration cache.

    Args:
        clips: Tensor → magnitude that becomes level 127, finite and 0 or more.
        version: Full version of the TensorRT that will read it.

    Raises:
        UsageError: A range that is not a number, or a name with a line break.
    """
    lines = [f"TRT-{cache_version(version)}-{_ALGORITHM}"]
    for tensor, clip in clips.items():
        if not (math.isfinite(clip) and clip >= 0) or "\n" in tensor or not tensor:
            raise UsageError(f"The tensor {tensor!r} cannot have the range {clip}.")
        lines.append(f"{tensor}: {_to_hex(clip / LEVELS)}")
    return ("\n".join(lines) + "\n").encode()


def read_cache(content: bytes) -> TensorRtCache:
    """Read a calibration cache.

    Raises:
        UsageError: Something else; the message names the line.
    """
    lines = content.decode("utf-8", errors="replace").splitlines()
    header = _HEADER.fullmatch(lines[0].strip()) if lines else None
    if header is None:
        raise UsageError("This is no calibration cache of TensorRT: its first line is not TRT-<version>-<algorithm>.")
    scales: dict[str, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        entry = _ENTRY.fullmatch(line.strip())
        if entry is None:
            raise UsageError(f"Line {number} of the calibration cache is not <tensor>: <8 hex digits>: {line!r}.")
        scales[entry["tensor"]] = struct.unpack(">f", bytes.fromhex(entry["scale"]))[0]
    return TensorRtCache(int(header["version"]), header["algorithm"], scales)


def _to_hex(scale: float) -> str:
    smallest = float.fromhex("0x1p-126")  # a scale of 0 would divide by 0
    return struct.pack(">f", max(scale, smallest)).hex()
