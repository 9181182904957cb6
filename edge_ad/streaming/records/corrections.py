"""Frames whose verdict a person corrected, as folders of photos to train on and to test with."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError, UsageError
from edge_ad.storage import storage_errors, write_file
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.records.ng_images import ng_image_name
from edge_ad.strict_json import to_json

__all__ = ["LABELS", "CorrectionStore", "Label"]

Label: TypeAlias = Literal["good", "defect"]
"""What a part really was, and the name of the folder of its frames."""

LABELS: tuple[Label, ...] = get_args(Label)
_AUDIT_FILE = "corrections.jsonl"
_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class CorrectionStore:
    """A folder with ``good/`` and ``defect/``, and a line in ``corrections.jsonl`` for every change of them.

    Frames with the same pixels are one picture, whenever they came: it lies in one of the folders at most. May be
    called from any thread.

    Args:
        root: The folder; made with the first picture.

    Raises:
        UsageError: It is a file.
    """

    def __init__(self, root: Path) -> None:
        if root.exists() and not root.is_dir():
            raise UsageError(f"{root} is a file, not a folder.", "Give a folder for the corrected frames.")
        self.root = root
        self._lock = threading.Lock()
        self._counts = {name: sum(1 for _ in (root / name).glob("*.png")) for name in LABELS}

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures are in each of the folders."""
        return {str(name): count for name, count in self._counts.items()}

    def put(self, frame: Frame, label: Label | None, facts: Mapping[str, object], source_name: str = "") -> bool:
        """Keep a frame as what it really was, or take it back.

        Args:
            frame: The frame; its image is written as it was judged, without loss.
            label: What it was; None removes it from both folders.
            facts: What else stands in the audit line, such as who said so.
            source_name: Name of the source, for frames that do not say it.

        Returns:
            Whether anything changed; a second call with the same label changes nothing.

        Raises:
            StorageError: No space or no permission; the folder is as it was.
        """
        digest = _digest(frame.image)
        with self._lock, storage_errors(self.root):
            found = {name: path for name in LABELS for path in (self.root / name).glob(f"*-{digest}.png")}
            if set(found) == ({label} if label else set()):
                return False
            path = None if label is None else self._write(frame, label, digest, source_name)
            entry = {"time_unix": time.time(), "label": label, "file": path and path.relative_to(self.root).as_posix()}
            try:
                _append(self.root / _AUDIT_FILE, entry | {"pixels": digest, **facts})
            except BaseException:
                if path is not None:
                    path.unlink()
                raise
            for name, other in found.items():
                other.unlink()
                self._counts[name] -= 1
            if label is not None:
                self._counts[label] += 1
            return True

    def _write(self, frame: Frame, label: Label, digest: str, source_name: str) -> Path:
        for folder in LABELS:  # both, so that the folder is one of good and defective parts from the first picture on
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        day, _, name = ng_image_name(frame, source_name).split("/")  # types of defects are folders: no further ones
        path = self.root / label / f"{day}_{Path(name).stem}-{digest}.png"
        is_encoded, encoded = cv2.imencode(".png", frame.image, _FAST_PNG)
        if not is_encoded:
            raise StorageError(f"{path} could not be written: the frame cannot be encoded as PNG.")
        write_file(path, encoded.tobytes())
        return path


def _digest(image: NDArray[np.uint8]) -> str:
    """Of the pixels, not of a file: 16 hex digits."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def _append(path: Path, entry: Mapping[str, object]) -> None:
    """Add a line, completely or not at all."""
    with path.open("ab") as file:
        before = file.tell()
        try:
            file.write(to_json(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.truncate(path, before)
            raise
