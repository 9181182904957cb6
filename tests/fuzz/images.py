"""Image files: damaged, with other sizes than they hold, or far larger than they look."""

from __future__ import annotations

import random
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np

from edge_ad.errors import DataError
from edge_ad.images import read_image
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Target

__all__ = ["ImageTarget"]

_SUFFIXES = (".png", ".jpg", ".bmp", ".tiff", ".webp")
_SIZES = (0, 1, 7, 65_535, 65_536, 30_000, 1 << 20, (1 << 31) - 1)
# Little-endian width and height, or big-endian ones: where each format has them.
_DIMENSIONS = {".png": (16, ">II"), ".bmp": (18, "<ii"), ".webp": (26, "<HH")}


class ImageTarget(Target):
    """Reading an image gives uint8 (H, W, 3) or a `DataError`, in bounded memory."""

    name = "images"

    def prepare(self) -> None:
        """Encode a small picture in every format, in 8 and in 16 bits."""
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        self._files = [(suffix, _encoded(suffix, image)) for suffix in _SUFFIXES]
        deep = image.astype(np.uint16) * 257
        self._files += [(suffix, _encoded(suffix, deep)) for suffix in (".png", ".tiff")]
        self._files += [(suffix, _encoded(suffix, image[..., 0])) for suffix in (".png", ".jpg")]

    def make(self, rng: random.Random) -> bytes:
        """Damage a file, or have its header announce another size."""
        suffix, content = rng.choice(self._files)
        if suffix in _DIMENSIONS and rng.random() < 0.3:
            return _resized(suffix, content, rng)
        if suffix == ".jpg" and rng.random() < 0.3:
            return _resized_jpeg(content, rng)
        changed = mutate_bytes(content, rng)
        return _with_checksums(changed) if suffix == ".png" and rng.random() < 0.7 else changed

    def open(self) -> None:
        """Make a folder for the file."""
        self._folder = tempfile.TemporaryDirectory(prefix="edge-ad-fuzz-")

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()

    def run(self, content: bytes) -> str:
        """Read it."""
        path = Path(self._folder.name) / "image"
        path.write_bytes(content)
        try:
            image = read_image(path)
        except DataError:
            return ""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            return f"an image of {image.dtype} with {image.ndim} dimensions"
        return ""


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    done, content = cv2.imencode(suffix, image)
    assert done
    return bytes(content.tobytes())


def _resized(suffix: str, content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    offset, layout = _DIMENSIONS[suffix]
    largest = 0x3FFF if suffix == ".webp" else (1 << 31) - 1
    struct.pack_into(layout, changed, offset, *(min(rng.choice(_SIZES), largest) for _ in range(2)))
    return _with_checksums(bytes(changed)) if suffix == ".png" else bytes(changed)


def _resized_jpeg(content: bytes, rng: random.Random) -> bytes:
    at = content.find(b"\xff\xc0")
    changed = bytearray(content)
    struct.pack_into(">HH", changed, at + 5, *(min(rng.choice(_SIZES), 65_535) for _ in range(2)))
    return bytes(changed)


def _with_checksums(content: bytes) -> bytes:
    """A PNG whose checksums fit again, so that the damage reaches the decoder."""
    changed, at = bytearray(content), 8
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)
