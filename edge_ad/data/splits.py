"""Splits the good images: one part to fit, one to calibrate, one to set the threshold."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_ad.errors import DataError, UsageError
from edge_ad.photo_spec import PhotoSpec
from edge_ad.storage import sha256_file

__all__ = [
    "FEWEST_IMAGES",
    "FEWEST_PER_PART",
    "GoodSplit",
    "content_hash",
    "fitted_on_all",
    "hold_out",
    "split_good",
]

FEWEST_IMAGES = 8
FEWEST_PER_PART = 2
_HELD_OUT_SHARE = 0.2
_HELD_OUT = "held out to evaluate on"


@dataclass(frozen=True)
class GoodSplit:
    """A split of the good images into three parts.

    They are disjoint, but for a detector that is fitted on all: every photo adds to what it knows of good parts, and
    the threshold stands on ``folds``.

    Attributes:
        seed: The seed that made it.
        fit: Images to fit or train on; all of them where there are folds (not so in runs of before).
        calibrate: Images that set quantiles, scales and ranges, and stop training.
        threshold: Images for the decision threshold alone.
        photos: What they are like, and how they are read.
        folds: Blocks of all of them, each to be scored by a detector that was fitted on the others; the first is
            ``calibrate`` and ``threshold`` together. Empty where ``threshold`` alone sets the threshold.
        duplicates: Photos that show the same thing, group by group; those without another are left out.
        in_blocks: Whether the parts are blocks of the photos' order; else they were drawn by chance.
    """

    seed: int
    fit: tuple[Path, ...]
    calibrate: tuple[Path, ...]
    threshold: tuple[Path, ...]
    photos: PhotoSpec = field(default_factory=PhotoSpec)
    folds: tuple[tuple[Path, ...], ...] = ()
    duplicates: tuple[tuple[Path, ...], ...] = ()
    in_blocks: bool = False

    @property
    def is_fitted_on_all(self) -> bool:
        """Whether the detector has seen what else would be held out."""
        return bool(self.folds) and set(self.folds[0]) <= set(self.fit)

    @property
    def has_no_held_out(self) -> bool:
        """Whether the photos that set the threshold were trained on, and no folds tell what new ones score."""
        return not self.folds and set(self.threshold) <= set(self.fit)


def fitted_on_all(split: GoodSplit) -> GoodSplit:
    """The same split, all of whose photos are trained on, as papers do; one that is cross-fitted is so already."""
    if split.folds:
        return split
    return replace(split, fit=tuple(dict.fromkeys((*split.fit, *split.calibrate, *split.threshold))))


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"The image cannot be read ({error.strerror}): {path}.") from error


def split_good(
    paths: Sequence[Path], *, seed: int = 0, fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
) -> GoodSplit:
    """Split images by chance, as runs of before were: by content, whatever the folder, the names and the order.

    Files of equal content stay in one part, so that no held-out image was seen in training.

    Args:
        paths: Image files of good parts.
        seed: Another seed gives another split.
        fractions: Shares of the different images for fit, calibrate and threshold; positive, summing to 1.

    Raises:
        DataError: Fewer than 8 different images.
        UsageError: Fractions that are not positive or do not sum to 1.
    """
    if min(fractions) <= 0 or not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise UsageError(f"Split fractions must be positive and sum to 1, not {fractions}.")
    groups = _groups_by_content(paths)
    if len(groups) < FEWEST_IMAGES:
        raise DataError(
            f"{len(groups)} different good images are too few; at least {FEWEST_IMAGES} are needed.",
            "Add photos of good parts; a hundred or more give a reliable threshold.",
        )
    shuffled = [groups[key] for key in sorted(groups, key=lambda key: _digest(str(seed), key))]
    calibrate, threshold = (_part_size(fraction, len(groups)) for fraction in fractions[1:])
    fit = max(FEWEST_PER_PART, len(groups) - calibrate - threshold)
    calibrate = min(calibrate, len(groups) - fit - FEWEST_PER_PART)
    parts = shuffled[:fit], shuffled[fit : fit + calibrate], shuffled[fit + calibrate :]
    fit_part, calibrate_part, threshold_part = (_flatten(part) for part in parts)
    return GoodSplit(seed, fit_part, calibrate_part, threshold_part)


def hold_out(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Hold out a fifth of the good photos for evaluation, where a product does not name its test photos.

    By content alone, as in `split_good`, so every command finds the same ones. At least 8 different photos are left.

    Args:
        paths: Image files of good parts.

    Returns:
        Those to train on and those that are held out, each sorted by path.
    """
    groups = _groups_by_content(paths)
    count = max(0, min(round(_HELD_OUT_SHARE * len(groups)), len(groups) - FEWEST_IMAGES))
    ranked = [groups[key] for key in sorted(groups, key=lambda key: _digest(_HELD_OUT, key))]
    return tuple(sorted(_flatten(ranked[count:]))), tuple(sorted(_flatten(ranked[:count])))


def _groups_by_content(paths: Iterable[Path]) -> dict[str, list[Path]]:
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(set(paths)):
        groups[content_hash(path)].append(path)
    return dict(groups)


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()


def _part_size(fraction: float, total: int) -> int:
    return max(FEWEST_PER_PART, round(fraction * total))


def _flatten(groups: list[list[Path]]) -> tuple[Path, ...]:
    return tuple(path for group in groups for path in group)
