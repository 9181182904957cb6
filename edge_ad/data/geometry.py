"""Decide how photos fill the network's input, and its shape, by the photos of good parts that are fitted on alone.

``auto`` needs no labels. Where each photo shows one part on plain ground that lies at any angle, the part is aligned:
found, turned and cut out. Else the input has the shape of the photos where all have about the same one, and is a square
where they differ. Either has about as many pixels as the square that was asked for.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from edge_ad.alignment import Alignment, part_on
from edge_ad.data.splits import FEWEST_IMAGES, FEWEST_PER_PART, GoodSplit
from edge_ad.errors import DataError, UsageError
from edge_ad.images import read_image
from edge_ad.input_size import InputSize, side_lengths
from edge_ad.outside_text import printable
from edge_ad.part_position import PartPosition
from edge_ad.photo_spec import Geometry, PhotoSpec

__all__ = ["AskedGeometry", "ChosenGeometry", "choose_geometry", "fitting_size", "without_unaligned"]

AskedGeometry = Literal["auto", "stretch", "letterbox", "crop", "align"]

_SAME_ASPECT = 1.05  # highest over lowest width / height that still is one shape
_LARGEST_EXCESS = 1.1  # of an input's pixels over those of the square
_MOST_LENGTH_VARIATION = 0.1  # standard deviation over mean of the parts' lengths
_MOST_ALIKE_ANGLES = 0.3  # resultant length of the doubled axis angles; 1 where all lie alike
_MOST_ALIKE_BY_CHANCE = 0.01  # of N angles that are spread, the share whose resultant r is longer: exp(-N r²), Rayleigh
_MOST_ALIKE_OF_FEW = 0.8
_LEAST_ELONGATION = 1.1  # a round part has no axis
_MOST_NOT_FOUND = 0.05  # share of the photos whose part may be missing or cut off
_MOST_LEFT_OUT = 0.1  # the same, where alignment is asked for
_LOOKED_AT_FIRST = 24  # photos; where parts are cut off on more of them than may be, the others are not read
_MARGIN = 0.02  # of the part's length, around the box
_LENGTH_TOLERANCE = 0.15  # beyond the lengths that occur
_MOST_DEVIATION = 0.25  # of a length from the middle one, beyond which it is no part of the product
_SHOWN = 3
_STRONG_SQUEEZE = 1.25
_log = logging.getLogger(__name__)


class ChosenGeometry(NamedTuple):
    """How photos fill the input.

    Attributes:
        photos: With the geometry, and with the box where the part is aligned.
        size: Of the input, in pixels.
    """

    photos: PhotoSpec
    size: InputSize


def choose_geometry(
    paths: Sequence[Path],
    photos: PhotoSpec,
    asked: AskedGeometry,
    size: InputSize,
    multiple: int,
    crop_share: float = 1.0,
    most_part_share: float = 1.0,
) -> ChosenGeometry:
    """Decide how photos fill the input.

    Args:
        paths: The photos that are fitted on.
        photos: Depth and shape of all photos of good parts.
        asked: One of the geometries, or ``auto``.
        size: Side of a square, whose number of pixels the input shall have; or height and width, which it gets.
        multiple: Height and width of the input must be multiples of it.
        crop_share: Of the sides of the middle rectangle that ``crop`` takes, in (0, 1].
        most_part_share: Of what would be cut out around a part, most that may be the part for ``auto`` to align it.

    Raises:
        UsageError: A share below 1 of anything but ``crop``, or one out of range.
        DataError: Alignment was asked for and cannot be done, or a photo cannot be read.
    """
    if not 0 < crop_share <= 1 or (crop_share < 1 and asked != "crop"):
        raise UsageError(
            f"A crop share of {crop_share:g} goes with no geometry {asked!r}.",
            "It is above 0 and at most 1; below 1 it needs --geometry crop.",
        )
    if asked in ("auto", "align"):
        alignment = _alignment(paths, photos.significant_bits, most_part_share, is_asked=asked == "align")
        if alignment is not None:
            chosen = _with(photos, "align", alignment)
            return ChosenGeometry(chosen, _shaped(size, alignment.aspect, multiple))
    chosen = _with(photos, "stretch" if asked == "auto" else asked, crop_share=crop_share)
    if asked == "auto" and (aspect := _shared_aspect(photos)) is not None:
        size = _shaped(size, aspect, multiple)
    _mention_squeeze(chosen, size)
    return ChosenGeometry(chosen, size)


def fitting_size(aspect: float, pixels: int, multiple: int) -> tuple[int, int]:
    """Height and width, multiples of a number, with about an aspect (width / height) and a number of pixels.

    The squares of both deviations, as logarithms, are as small as they can be together; at most a tenth more pixels.
    """
    longest = max(multiple, round(math.sqrt(pixels * max(aspect, 1 / aspect)) * 2))
    sides = range(multiple, longest + multiple, multiple)
    sizes = [(height, width) for height in sides for width in sides if height * width <= _LARGEST_EXCESS * pixels]

    def deviation(size_hw: tuple[int, int]) -> float:
        height, width = size_hw
        return math.log(width / height / aspect) ** 2 + math.log(height * width / pixels) ** 2

    return min(sizes, key=deviation, default=(multiple, multiple))


def without_unaligned(split: GoodSplit) -> GoodSplit:
    """Leave the photos out whose part cannot be aligned, and name them; the same split where nothing is aligned.

    Raises:
        DataError: There are many, or too few photos are left.
    """
    alignment = split.photos.alignment
    if alignment is None:
        return split
    paths = tuple(dict.fromkeys((*split.fit, *split.calibrate, *split.threshold)))
    problems = {
        path: problem
        for path, (part, photo_hw) in _parts(paths, split.photos.significant_bits).items()
        if (problem := alignment.problem(part, photo_hw))
    }
    if not problems:
        return split
    _refuse_many(problems, len(paths))
    _log.warning("Left out of %d photos: %s.", len(paths), _words(problems))
    left = _kept(split, problems)
    parts = (left.fit, left.calibrate, left.threshold)
    if min(map(len, parts)) < FEWEST_PER_PART or len(paths) - len(problems) < FEWEST_IMAGES:
        raise DataError(f"Too few photos are left to train on: {_words(problems)}.", "Add photos of good parts.")
    return left


def _kept(split: GoodSplit, left_out: Iterable[Path]) -> GoodSplit:
    gone = set(left_out)

    def kept(part: Iterable[Path]) -> tuple[Path, ...]:
        return tuple(path for path in part if path not in gone)

    return replace(
        split,
        fit=kept(split.fit),
        calibrate=kept(split.calibrate),
        threshold=kept(split.threshold),
        folds=tuple(fold for fold in map(kept, split.folds) if fold),
        duplicates=tuple(group for group in map(kept, split.duplicates) if len(group) > 1),
    )


_Parts = dict[Path, tuple[PartPosition, tuple[int, int]]]


def _parts(paths: Sequence[Path], significant_bits: int | None) -> _Parts:
    """Where the part lies on each photo, and the photo's height and width."""

    def look(path: Path) -> tuple[PartPosition, tuple[int, int]]:
        image = read_image(path, significant_bits)
        return part_on(image), (image.shape[0], image.shape[1])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding releases the interpreter lock
        return dict(zip(paths, pool.map(look, paths), strict=True))


def _alignment(
    paths: Sequence[Path], significant_bits: int | None, most_part_share: float, *, is_asked: bool
) -> Alignment | None:
    """The box around the part; None where it shall not be aligned."""
    if not is_asked and len(paths) > _LOOKED_AT_FIRST:
        first = [paths[index] for index in np.linspace(0, len(paths) - 1, _LOOKED_AT_FIRST).astype(int)]
        problems = [part.problem for part, _ in _parts(first, significant_bits).values()]
        if sum(map(bool, problems)) > 2 * _MOST_NOT_FOUND * len(first):
            return None
    parts = _parts(paths, significant_bits)
    found = _of_usual_length(parts)
    missing = {path: parts[path][0].problem or "another length" for path in parts.keys() - found.keys()}
    if is_asked:
        _refuse_many(missing, len(parts))
    elif not found or len(missing) > max(1, _MOST_NOT_FOUND * len(parts)):
        return None
    lengths = np.array([part.length / max(photo_hw) for part, photo_hw in found.values()])
    if not is_asked and not _shall_align([part for part, _ in found.values()], lengths):
        return None
    box = _box(found, lengths)
    return box if is_asked or _part_share(found, box) <= most_part_share else None


def _part_share(found: _Parts, box: Alignment) -> float:
    """How much of a box the part is, on average."""
    area = float(np.mean([part.area / max(photo_hw) ** 2 for part, photo_hw in found.values()]))
    return area / ((box.along[1] - box.along[0]) * (box.across[1] - box.across[0]))


def _of_usual_length(parts: _Parts) -> _Parts:
    whole = {path: (part, photo_hw) for path, (part, photo_hw) in parts.items() if not part.problem}
    if not whole:
        return whole
    lengths = {path: part.length / max(photo_hw) for path, (part, photo_hw) in whole.items()}
    middle = float(np.median(list(lengths.values())))
    return {path: whole[path] for path, length in lengths.items() if abs(length - middle) <= _MOST_DEVIATION * middle}


def _shall_align(parts: Sequence[PartPosition], lengths: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    """Whether parts are alike in length, have an axis, and lie at any angle."""
    variation = float(lengths.std() / lengths.mean())
    alike = abs(np.exp(2j * np.array([part.angle for part in parts])).mean())
    elongation = float(np.median([part.elongation for part in parts]))
    by_chance = min(_MOST_ALIKE_OF_FEW, math.sqrt(-math.log(_MOST_ALIKE_BY_CHANCE) / len(parts)))
    are_spread = alike < max(_MOST_ALIKE_ANGLES, by_chance)
    is_fit = variation < _MOST_LENGTH_VARIATION and are_spread and elongation > _LEAST_ELONGATION
    return bool(is_fit)


def _box(found: _Parts, lengths: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Alignment:
    """What encloses all parts when they lie alike, with a margin."""
    along, across = (
        np.array([np.array(getattr(part, side)) / max(photo_hw) for part, photo_hw in found.values()])
        for side in ("along", "across")
    )
    margin = _MARGIN * float(lengths.mean())

    def reach(sides: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> tuple[float, float]:
        return round(float(sides[:, 0].min()) - margin, 5), round(float(sides[:, 1].max()) + margin, 5)

    low, high = float(lengths.min()) * (1 - _LENGTH_TOLERANCE), float(lengths.max()) * (1 + _LENGTH_TOLERANCE)
    return Alignment(along=reach(along), across=reach(across), length=(round(low, 5), round(high, 5)))


def _refuse_many(problems: Mapping[Path, str], total: int) -> None:
    if len(problems) > _MOST_LEFT_OUT * total:
        raise DataError(
            f"{len(problems)} of {total} photos cannot be aligned: {_words(problems)}.",
            "Take photos of one part each, whole and on plain ground; or choose another --geometry.",
        )


def _words(problems: Mapping[Path, str]) -> str:
    counts = ", ".join(f"{count} {problem}" for problem, count in Counter(problems.values()).items())
    shown = ", ".join(path.name for path in sorted(problems)[:_SHOWN])
    return f"{counts} ({printable(shown)}{', …' if len(problems) > _SHOWN else ''})"


def _shared_aspect(photos: PhotoSpec) -> float | None:
    """Width over height of all photos; None where they differ."""
    if photos.aspect_ratios is None or photos.size_hw is None:
        return None
    low, high = photos.aspect_ratios
    return photos.size_hw[1] / photos.size_hw[0] if high / low <= _SAME_ASPECT else None


def _shaped(size: InputSize, aspect: float, multiple: int) -> InputSize:
    if not isinstance(size, int) or size % multiple:  # given, or refused by the detector
        return size
    height, width = fitting_size(aspect, size * size, multiple)
    return height if height == width else (height, width)


def _with(
    photos: PhotoSpec, geometry: Geometry, alignment: Alignment | None = None, crop_share: float = 1.0
) -> PhotoSpec:
    chosen = {"geometry": geometry, "alignment": alignment, "crop_share": crop_share}
    return PhotoSpec.model_validate({**photos.model_dump(), **chosen})


def _mention_squeeze(photos: PhotoSpec, size: InputSize) -> None:
    """Log where photos are stretched to another shape."""
    height, width = side_lengths(size)
    low, high = (ratio * height / width for ratio in photos.aspect_ratios or (width / height,) * 2)
    if photos.geometry == "stretch" and max(high, 1 / low) > _STRONG_SQUEEZE:
        rows, columns = photos.size_hw or (0, 0)
        _log.warning(
            "Photos of %d×%d are stretched to %d×%d; --geometry letterbox keeps their shape, --geometry crop the "
            "centre.",
            columns,
            rows,
            width,
            height,
        )
