"""Photos by path, folder or pattern, and a verdict on each; one that cannot be judged is named and is no good part."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.detector import Detector
from edge_ad.errors import DataError, UsageError
from edge_ad.images import decode_image
from edge_ad.outside_text import printable
from edge_ad.photo_files import find_photos
from edge_ad.photo_input import Photo
from edge_ad.regions import Region
from edge_ad.streaming.frame import Result

__all__ = ["UNJUDGED", "PhotoVerdict", "judge_contents", "judge_photos", "list_photos"]

UNJUDGED = "unjudged"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotoVerdict:
    """What a detector says of a photo.

    Attributes:
        path: The photo.
        verdict: ``"OK"``, ``"NG"``, or ``"unjudged"`` for a photo that cannot be read or is of another shape or depth.
        score: Raw anomaly score; None where there is none.
        threshold: Raw score above which a photo is NG.
        regions: Where it is anomalous, the highest peak first; none on a photo that is OK.
        reason: Why it could not be judged; empty where it was.
    """

    path: Path
    verdict: str
    score: float | None
    threshold: float
    regions: tuple[Region, ...] = ()
    reason: str = ""

    @classmethod
    def of(cls, path: Path, result: Result) -> PhotoVerdict:
        """The verdict of a result; a score or a map that is not finite is no verdict."""
        if result.reason:
            return cls(path, UNJUDGED, None, result.threshold, reason=result.reason)
        if not result.is_defective:
            return cls(path, "OK", result.score, result.threshold)
        return cls(path, "NG", result.score, result.threshold, result.regions)

    def to_dict(self) -> dict[str, Any]:
        """The attributes as values that JSON can hold."""
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "score": self.score,
            "threshold": self.threshold,
            "reason": self.reason,
            "regions": [region.to_dict() for region in self.regions],
        }


def list_photos(inputs: Sequence[str | Path]) -> list[Path]:
    """Find the photos that are meant.

    Args:
        inputs: Paths of photos, folders (with all inside them) and patterns such as ``"parts/*.png"``. A path that is
            there is taken as it is, whatever signs are in it.

    Returns:
        Each once, in the order of the inputs; those of a folder or a pattern sorted by path.

    Raises:
        DataError: There is no such file, nothing fits a pattern, or a folder holds no photos.
        UsageError: No inputs.
    """
    if not inputs:
        raise UsageError("Say which photos to judge.", "edge-ad predict BUNDLE photos/")
    found = dict.fromkeys(path for item in inputs for path in _photos(str(item)))
    return list(found)


def _photos(text: str) -> list[Path]:
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112 - false, not an error, for a name that no file can have
        listed = find_photos(path, recursive=True)
        if not listed.photos:
            left_out = f" (left out: {listed.left_out()})" if listed.left_out() else ""
            raise DataError(f"{path} holds no photos{left_out}.", "Name a folder with PNG, JPEG, BMP, TIFF or WebP.")
        if words := listed.left_out():
            _log.warning("Left out in %s: %s.", printable(str(path)), words)
        return list(listed.photos)
    if os.path.exists(path):  # noqa: PTH110 - likewise
        return [path]
    matches = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else []  # noqa: PTH207 - takes any path
    if not matches:
        raise DataError(f"No such photo: {text}.", "Name photos, folders, or a pattern in quotation marks.")
    return [photo for match in matches for photo in _photos(glob.escape(match) if Path(match).is_dir() else match)]


def judge_photos(detector: Detector, paths: Sequence[Path]) -> Iterator[tuple[PhotoVerdict, Result | None]]:
    """Judge photos in batches.

    Args:
        detector: An open detector.
        paths: The photos.

    Yields:
        The verdict on each, in their order, with the result where there is one: it holds the photo's pixels.
    """
    waiting = iter(paths)
    while chunk := list(islice(waiting, detector.batch_size)):
        try:
            results = detector.predict(list(chunk))
        except DataError:
            yield from (_judge(detector, path) for path in chunk)
        else:
            yield from ((PhotoVerdict.of(*pair), pair[1]) for pair in zip(chunk, results, strict=True))


def judge_contents(detector: Detector, photos: Sequence[tuple[str, bytes]]) -> list[PhotoVerdict]:
    """Judge the contents of image files, up to ``detector.batch_size`` of them in one call.

    Args:
        detector: An open detector.
        photos: Name and content of each.
    """
    decoded: list[NDArray[np.uint8] | PhotoVerdict] = [_decoded(detector, *photo) for photo in photos]
    images: list[Photo] = [each for each in decoded if not isinstance(each, PhotoVerdict)]
    results = iter(detector.predict(images))
    pairs = zip(photos, decoded, strict=True)
    return [
        each if isinstance(each, PhotoVerdict) else PhotoVerdict.of(Path(photo[0]), next(results))
        for photo, each in pairs
    ]


def _decoded(detector: Detector, name: str, content: bytes) -> NDArray[np.uint8] | PhotoVerdict:
    try:
        image = decode_image(content, name, detector.photos.significant_bits)
    except DataError as error:
        return PhotoVerdict(Path(name), UNJUDGED, None, detector.threshold, reason=error.message)
    if problem := detector.photos.shape_problem(*image.shape[:2]):
        return PhotoVerdict(Path(name), UNJUDGED, None, detector.threshold, reason=problem)
    return image


def _judge(detector: Detector, path: Path) -> tuple[PhotoVerdict, Result | None]:
    try:
        result = detector.predict(path)
    except DataError as error:
        return PhotoVerdict(path, UNJUDGED, None, detector.threshold, reason=error.message), None
    return PhotoVerdict.of(path, result), result
