"""The images of a run that a recipe sees, and those that ranges are measured on: the split's, or a user's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import Folders, list_good_photos, list_test_photos
from edge_ad.data.splits import GoodSplit, content_hash
from edge_ad.errors import DataError
from edge_ad.images import probe_image, read_resized

__all__ = ["FEWEST_IMAGES", "CalibrationSet", "HeldImages", "calibration_set"]

FEWEST_IMAGES = 8
_ASPECT_TOLERANCE = 0.05
_LARGEST_ENLARGEMENT = 2.0
_SHOWN = 3
_SPLIT = "split"


@dataclass(frozen=True)
class CalibrationSet:
    """Images to measure ranges on, each content once.

    Attributes:
        paths: The files.
        identity: The same for the same images, whatever their names and order.
        words: What they are.
    """

    paths: tuple[Path, ...]
    identity: str
    words: str


class HeldImages:
    """Images of a run, uint8 (N, H, W, 3) each; a part is read when it is first needed.

    Args:
        split: The split of the run.
        ranges: The images that ranges are measured on.
        size_hw: Input size of the network, in pixels.

    Raises:
        DataError: One of them cannot be read.
    """

    def __init__(self, split: GoodSplit, ranges: Sequence[Path], size_hw: tuple[int, int]) -> None:
        self._split, self._ranges, self._size_hw = split, ranges, size_hw

    @cached_property
    def fit(self) -> NDArray[np.uint8]:
        """What the detector was fitted on."""
        return self._read(self._split.fit)

    @cached_property
    def calibrate(self) -> NDArray[np.uint8]:
        """The split's part for calibration."""
        return self._read(self._split.calibrate)

    @cached_property
    def threshold(self) -> NDArray[np.uint8]:
        """The split's part for the threshold."""
        return self._read(self._split.threshold)

    @property
    def scored(self) -> NDArray[np.uint8]:
        """What an engine scores for its threshold: the first fold where there are folds, else ``threshold``."""
        return self.held_out if self._split.folds else self.threshold

    @cached_property
    def ranges(self) -> NDArray[np.uint8]:
        """What ranges are measured on."""
        return self._read(self._ranges)

    @property
    def held_out(self) -> NDArray[np.uint8]:
        """What the gate compares on."""
        return np.concatenate([self.calibrate, self.threshold])

    def _read(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        return read_resized(paths, self._size_hw, self._split.photos)


def calibration_set(
    split: GoodSplit,
    product_root: Path,
    size_hw: tuple[int, int],
    folder: Path | None = None,
    folders: Folders | None = None,
) -> CalibrationSet:
    """Choose the images and check them.

    Without a folder, they are the split's part for calibration; where that is fewer than 8, as of a product with fewer
    than about 50 photos, images of the part that was fitted on fill it up. A folder must hold at least 8 different
    images, of the aspect ratio of the product's own photos (within 5 %), that need not be enlarged more than twice as
    much as these. Those that set the threshold are left out.

    Args:
        split: The split of the run.
        product_root: Folder of its product, whose layout says what is the test set.
        size_hw: Input size of the network, in pixels.
        folder: The user's own images.
        folders: Folders that were named for the training.

    Raises:
        DataError: Too few, of another shape, too small, unreadable, or also in the test set; one line says which.
    """
    is_there = product_root.is_dir() and all(path.is_dir() for path in (folders.defects if folders else ()))
    trained_on = _by_hash((*split.fit, *split.calibrate, *split.threshold))
    tested = _by_hash(list_test_photos(product_root, folders, trained_on) if is_there else ())
    if folder is None:
        return _from_split(split, tested)
    return _from_folder(folder, split, tested, size_hw)


def _from_split(split: GoodSplit, tested: dict[str, Path]) -> CalibrationSet:
    own = _by_hash(split.calibrate)
    # The gate decides on the threshold part as well: neither may hold a test image.
    _refuse_test_images(
        {**own, **_by_hash(split.threshold)},
        tested,
        "held-out images of this run",
        "Remove them from the good images and train again.",
    )
    more = {key: path for key, path in _by_hash(split.fit).items() if key not in own and key not in tested}
    filling = list(more.values())[: max(FEWEST_IMAGES - len(own), 0)]
    words = f"{len(own)} images of the split's part for calibration"
    if filling:
        words += f", and {len(filling)} of those that were fitted on, as {len(own)} are too few"
    return CalibrationSet((*own.values(), *filling), _SPLIT, words)


def _from_folder(folder: Path, split: GoodSplit, tested: dict[str, Path], size_hw: tuple[int, int]) -> CalibrationSet:
    found = list_good_photos(folder)
    images = _by_hash(found)
    _refuse_test_images(images, tested, f"images in {folder}", "Remove them: what is tested on must not be seen.")
    held = _by_hash(split.threshold)
    kept = {key: path for key, path in images.items() if key not in held}
    twice, left_out = len(found) - len(images), len(images) - len(kept)
    notes = [f"{twice} twice in it"] * bool(twice) + [f"{left_out} left out, they set the threshold"] * bool(left_out)
    words = f"{len(kept)} different images of {folder.resolve().name}" + (f" ({'; '.join(notes)})" if notes else "")
    if len(kept) < FEWEST_IMAGES:
        raise DataError(
            f"{folder} holds {words.split(' of ')[0]} to calibrate on{' (' + '; '.join(notes) + ')' if notes else ''}; "
            f"at least {FEWEST_IMAGES} are needed.",
            "Add photos of good parts, or leave --calibration-images out to use those of the run.",
        )
    _Shapes.of([*split.fit, *split.calibrate], size_hw).check(kept.values())
    return CalibrationSet(tuple(kept.values()), _identity(kept), words)


def _refuse_test_images(images: dict[str, Path], tested: dict[str, Path], what: str, hint: str) -> None:
    common = [path for key, path in images.items() if key in tested]
    if common:
        are = "is also a test image" if len(common) == 1 else "are also test images"
        raise DataError(f"{len(common)} of the {len(images)} {what} {are}: {_names(common)}.", hint)


@dataclass(frozen=True)
class _Shapes:
    """Shapes that the product's photos have.

    Attributes:
        narrowest: Smallest width over height.
        widest: Largest.
        smallest: Pixels that the shorter side must have.
    """

    narrowest: float
    widest: float
    smallest: float

    @classmethod
    def of(cls, paths: Sequence[Path], size_hw: tuple[int, int]) -> _Shapes:
        shapes = [_size(path) for path in paths]
        ratios = [width / height for height, width in shapes]
        side = min(*size_hw, *(min(shape) for shape in shapes))
        return cls(min(ratios), max(ratios), side / _LARGEST_ENLARGEMENT)

    def check(self, paths: Iterable[Path]) -> None:
        shapes = {path: _size(path) for path in paths}
        odd = [path for path, (height, width) in shapes.items() if not self._is_like(width / height)]
        small = [path for path, shape in shapes.items() if min(shape) < self.smallest]
        if odd:
            height, width = shapes[odd[0]]
            raise DataError(
                f"{len(odd)} of {len(shapes)} calibration images have another aspect ratio than the product's photos "
                f"({self._words()}): {_names(odd)} ({width} x {height}).",
                "Use photos as the camera of the line takes them, cropped like those of the training.",
            )
        if small:
            height, width = shapes[small[0]]
            raise DataError(
                f"{len(small)} of {len(shapes)} calibration images are too small (a side below {self.smallest:.0f} "
                f"pixels): {_names(small)} ({width} x {height}).",
                "Use photos as the camera of the line takes them.",
            )

    def _is_like(self, ratio: float) -> bool:
        return self.narrowest / (1 + _ASPECT_TOLERANCE) <= ratio <= self.widest * (1 + _ASPECT_TOLERANCE)

    def _words(self) -> str:
        low, high = f"{self.narrowest:.2f}", f"{self.widest:.2f}"
        return f"width over height {low}" if low == high else f"width over height {low} to {high}"


def _size(path: Path) -> tuple[int, int]:
    return probe_image(path).size_hw


def _by_hash(paths: Iterable[Path]) -> dict[str, Path]:
    """Content hash → file, each content once."""
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(content_hash(path), path)
    return found


def _identity(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
