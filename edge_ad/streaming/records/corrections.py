"""Frames that a person labelled, as folders of photos to train on and to test with."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
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

__all__ = ["LABELS", "CorrectionStore", "Finding", "Kept", "Label", "parse_kind"]

Label: TypeAlias = Literal["good", "defect"]
"""What a part really was, and the name of the folder of its frames."""

LABELS: tuple[Label, ...] = get_args(Label)
_MASKS = "masks"
_AUDIT_FILE = "corrections.jsonl"
_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_TAKEN = frozenset({*LABELS, _MASKS, "mask", "ok", "ng", "test", "train", "ground_truth"})


@dataclass(frozen=True)
class Finding:
    """What a person says that a frame shows.

    Attributes:
        label: What the part was; None takes back what was said.
        kind: Kind of the defect, as `parse_kind` gives it; empty where nobody says.
        mask: bool (H, W) of the frame's size, True where the defect is; None where nobody marked the place.
    """

    label: Label | None
    kind: str = ""
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Kept:
    """What became of a labelled frame.

    Attributes:
        is_new: Whether anything changed.
        pixels: Hash of the frame's pixels, 16 hex digits: says which frame it is, whenever it came.
        photo: Its picture below the folder; empty where there is none any more.
        mask: Likewise its mask.
        sha256: File below the folder → hash of its content, of both.
    """

    is_new: bool
    pixels: str
    photo: str
    mask: str
    sha256: dict[str, str]


def parse_kind(value: object) -> str:
    """A kind of defect as a word that can be the name of a folder; None is empty.

    Raises:
        UsageError: It is no word of letters, digits, dashes and underscores, or one that folders have another use for.
    """
    if value is None or value == "":
        return ""
    kind = "-".join(value.lower().split()) if isinstance(value, str) else ""
    if _KIND.fullmatch(kind) is None or kind in _TAKEN:
        raise UsageError(
            "kind must be a word of up to 40 letters, digits, - and _.", "Such as scratch or missing-hole."
        )
    return kind


class CorrectionStore:
    """A folder with ``good/``, ``defect/`` and ``masks/``, and a line in ``corrections.jsonl`` for every change.

    A kind of defect is a folder in ``defect/``; the mask of ``defect/KIND/NAME.png`` is ``masks/KIND/NAME_mask.png``.
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
        self._counts = {name: sum(1 for _ in (root / name).rglob("*.png")) for name in LABELS}
        self._kinds = {path.name for path in (root / "defect").glob("*") if path.is_dir()}

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures are in each of the folders of labels."""
        return {str(name): count for name, count in self._counts.items()}

    @property
    def kinds(self) -> list[str]:
        """Kinds of defects that were named so far, sorted."""
        return sorted(self._kinds)

    def put(self, frame: Frame, finding: Finding, facts: Mapping[str, object], source_name: str = "") -> Kept:
        """Keep a frame as what it really was, or take it back.

        Args:
            frame: The frame; its image is written as it was judged, without loss.
            finding: What it shows; without a label it is removed from all folders.
            facts: What else stands in the audit line, such as who said so.
            source_name: Name of the source, for frames that do not say it.

        Returns:
            Where it is; a second call with the same finding changes nothing.

        Raises:
            StorageError: No space or no permission; the folder is as it was.
        """
        digest = _digest(frame.image)
        with self._lock, storage_errors(self.root):
            wanted = _files(frame, finding, digest, source_name)
            found = self._found(digest)
            hashes = {name: hashlib.sha256(content).hexdigest() for name, content in wanted.items()}
            photo, mask = (*wanted, "", "")[:2]
            if {path.relative_to(self.root).as_posix(): _hash(path) for path in found} == hashes:
                return Kept(False, digest, photo, mask, hashes)
            self._write(wanted, found, finding, facts, digest)
            for path in found:
                if path.relative_to(self.root).as_posix() not in wanted:
                    path.unlink()
            self._count(found, finding)
            return Kept(True, digest, photo, mask, hashes)

    def _found(self, digest: str) -> list[Path]:
        folders = [self.root / name for name in (*LABELS, _MASKS)]
        return [path for folder in folders for path in folder.rglob(f"*-{digest}*.png")]

    def _write(
        self,
        wanted: Mapping[str, bytes],
        found: list[Path],
        finding: Finding,
        facts: Mapping[str, object],
        digest: str,
    ) -> None:
        """Write the files and the audit line, or neither."""
        if wanted:
            for (
                folder
            ) in LABELS:  # both, so that the folder is one of good and defective parts from the first picture on
                (self.root / folder).mkdir(parents=True, exist_ok=True)
        paths = [self.root / name for name in wanted]
        entry: dict[str, object] = {"time_unix": time.time(), "label": finding.label, "file": next(iter(wanted), None)}
        if finding.kind:
            entry["kind"] = finding.kind
        if finding.mask is not None:
            entry["mask"] = next(name for name in wanted if name.startswith(_MASKS))
        try:
            for path, content in zip(paths, wanted.values(), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, content)
            _append(self.root / _AUDIT_FILE, entry | {"pixels": digest, **facts})
        except BaseException:
            for path in paths:
                if path not in found:
                    path.unlink(missing_ok=True)
            raise

    def _count(self, found: list[Path], finding: Finding) -> None:
        for name in LABELS:
            self._counts[name] -= any(path.is_relative_to(self.root / name) for path in found)
        if finding.label is not None:
            self._counts[finding.label] += 1
        if finding.kind:
            self._kinds.add(finding.kind)


def _files(frame: Frame, finding: Finding, digest: str, source_name: str) -> dict[str, bytes]:
    """Name below the folder → content, the picture first; nothing without a label."""
    if finding.label is None:
        return {}
    day, _, name = ng_image_name(frame, source_name).split("/")
    stem, kind = f"{day}_{Path(name).stem}-{digest}", f"{finding.kind}/" if finding.kind else ""
    files = {f"{finding.label}/{kind}{stem}.png": _encoded(frame.image)}
    if finding.mask is not None:
        files[f"{_MASKS}/{kind}{stem}_mask.png"] = _encoded(np.where(finding.mask, 255, 0).astype(np.uint8))
    return files


def _encoded(image: NDArray[np.uint8]) -> bytes:
    is_encoded, encoded = cv2.imencode(".png", image, _FAST_PNG)
    if not is_encoded:
        raise StorageError("The frame cannot be encoded as PNG.")
    return encoded.tobytes()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
