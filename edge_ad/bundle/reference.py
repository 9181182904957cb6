"""Reference outputs: what the trained network said about real photos, to check every engine against."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import BundleError

__all__ = ["REFERENCE_FILE", "Reference"]

REFERENCE_FILE = "reference.npz"
_LARGEST_BYTES = 1 << 30  # unpacked; a file of a few kilobytes can hold gigabytes of zeros
_REBUILD = "Export the bundle again: edge-ad export <run>"


@dataclass(frozen=True)
class Reference:
    """Held-out good photos, pseudo-defects made of some, and the FP32 outputs of the training framework on them.

    Attributes:
        images: uint8 (K, H, W, 3), BGR at the input size.
        scores: float32 (K,), raw scores.
        maps: float32 (K, H, W), anomaly maps.
    """

    images: NDArray[np.uint8]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = self.images.shape[:1]
        if count == (0,):
            raise BundleError("Reference outputs are of at least one image.", _REBUILD)
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise BundleError(f"Reference images must be uint8 (K, H, W, 3), not {_kind(self.images)}.")
        if self.scores.shape != count or self.scores.dtype != np.float32:
            raise BundleError(f"Reference scores must be float32 {count}, not {_kind(self.scores)}.")
        if self.maps.shape != self.images.shape[:3] or self.maps.dtype != np.float32:
            raise BundleError(f"Reference maps must be float32 {self.images.shape[:3]}, not {_kind(self.maps)}.")
        if not (np.isfinite(self.scores).all() and np.isfinite(self.maps).all()):
            raise BundleError("Reference scores and maps must be finite numbers.", _REBUILD)

    def to_bytes(self) -> bytes:
        """Content of ``reference.npz``; the same arrays give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=self.images, scores=self.scores, maps=self.maps)
        return buffer.getvalue()

    @classmethod
    def read(cls, content: bytes, path: Path) -> Reference:
        """Read ``reference.npz``; pickled content is refused.

        Args:
            content: Bytes of the file.
            path: The file, for the message.

        Raises:
            BundleError: Not such a file.
        """
        try:
            _check_unpacked_size(content)
            arrays = np.load(io.BytesIO(content), allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            with arrays:
                return cls(images=arrays["images"], scores=arrays["scores"], maps=arrays["maps"])
        except BundleError as error:
            raise BundleError(f"{path} does not hold reference outputs: {error.message}", _REBUILD) from error
        except Exception as error:  # zip, zlib, the parser of headers and numpy each have types of their own
            raise BundleError(f"{path} does not hold reference outputs ({error}).", _REBUILD) from error


def _check_unpacked_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(item.file_size for item in archive.infolist())
    if size > _LARGEST_BYTES:
        raise ValueError(f"it unpacks to {size / 2**30:.1f} GiB")


def _kind(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"
