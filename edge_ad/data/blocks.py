"""Split good photos in blocks of the order in which they were taken, which their names tell, and never by chance.

Photos that follow each other are alike: the same part, the same light, the same hour. Where chance decides, each photo
that is held out has neighbours among those that were fitted on, and its score promises what no photo of the next day
keeps. Here what is held out is a run of photos, sorted as people count (``9`` before ``10``), and photos that show the
same thing stay together wherever they lie.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edge_ad.data.near_duplicates import near_duplicates
from edge_ad.data.splits import FEWEST_IMAGES, FEWEST_PER_PART, GoodSplit, content_hash
from edge_ad.errors import DataError
from edge_ad.photo_spec import PhotoSpec

__all__ = ["MOST_FOLDS", "natural_order", "split_in_blocks"]

MOST_FOLDS = 5
_HELD_OUT_SHARE = 0.30  # where a block is held out once and for all: half calibrates, half sets the threshold
_SHIFT = 0.3  # of the photos, from one seed to the next

_Units: TypeAlias = list[tuple[Path, ...]]
"""Photos that stay together; the units in the order of their first photos."""


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Key that sorts paths as people count: folder by folder, ``9.png`` before ``10.png``."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


def split_in_blocks(
    paths: Sequence[Path],
    photos: PhotoSpec | None = None,
    *,
    seed: int = 0,
    cross_fitted: bool = False,
    fewest: int = FEWEST_IMAGES,
    further: Collection[Path] = (),
) -> GoodSplit:
    """Split good photos in blocks.

    Args:
        paths: Photos of good parts.
        photos: What they are like.
        seed: Which block is held out, or left out first; 0 takes the last.
        cross_fitted: Whether each of at most five blocks is left out once, by a detector of its own. Then the deployed
            detector is fitted on all photos; else 30 % of them are held out.
        fewest: Different photos that are enough; below 8 they are cross-fitted one by one.
        further: Those of them that came later, from folders of their own: they are divided by themselves, so that every
            block holds its share. In a block of their own they would be judged by detectors that have seen none.

    Returns:
        The split; ``calibrate`` and ``threshold`` are the two halves of the block that is held out, or that is left
        out first, ``folds`` all blocks, that one first (empty where they are not cross-fitted).

    Raises:
        DataError: Fewer different photos than are enough, or one that cannot be read.
    """
    photos = photos or PhotoSpec()
    units, alike = _units(sorted(set(paths), key=natural_order), photos, fewest)
    duplicates = tuple(unit for unit in alike if len(unit) > 1)
    later = set(further)
    own, added = ([unit for unit in units if (unit[0] in later) == is_later] for is_later in (False, True))
    if len(own) < FEWEST_IMAGES:  # there is nothing that they could be added to
        own, added = units, []
    blocks = _fifths(own, seed) if cross_fitted else _two_blocks(own, seed)
    held_out = blocks[0][: len(blocks[0]) // 2], blocks[0][len(blocks[0]) // 2 :]
    if added:
        parts = _parts_of(added, blocks, seed, cross_fitted=cross_fitted)
        middle = len(parts[0]) // 2
        held_out = held_out[0] + parts[0][:middle], held_out[1] + parts[0][middle:]
        blocks = [
            [*held_out[0], *held_out[1]],
            *([*pair[0], *pair[1]] for pair in zip(blocks[1:], parts[1:], strict=True)),
        ]
    fitted = [*blocks[1:], blocks[0]] if cross_fitted else blocks[1:]
    fit, calibrate, threshold = (
        tuple(path for unit in part for path in unit)
        for part in ([unit for block in fitted for unit in block], *held_out)
    )
    folds = tuple(tuple(path for unit in block for path in unit) for block in blocks) if cross_fitted else ()
    return GoodSplit(seed, fit, calibrate, threshold, photos, folds, duplicates, in_blocks=True)


def _parts_of(added: _Units, blocks: Sequence[_Units], seed: int, *, cross_fitted: bool) -> list[_Units]:
    """What is added to each block: as many parts of equal length, or the same share that the first block has of all."""
    if not cross_fitted:
        share = len(blocks[0]) / sum(map(len, blocks))
        edge = len(added) - round(share * len(added))
        return [added[edge:], added[:edge]]
    edges = np.linspace(0, len(added), len(blocks) + 1).round().astype(int)
    parts = [added[start:end] for start, end in pairwise(edges)]
    first = (len(blocks) - 1 - seed) % len(blocks)
    return parts[first:] + parts[:first]


def _fifths(units: _Units, seed: int) -> list[_Units]:
    few = len(units) < FEWEST_IMAGES
    count = min(MOST_FOLDS, len(units) if few else len(units) // (2 * FEWEST_PER_PART))
    edges = np.linspace(0, len(units), count + 1).round().astype(int)
    blocks = [units[start:end] for start, end in pairwise(edges)]
    first = (count - 1 - seed) % count
    return blocks[first:] + blocks[:first]


def _two_blocks(units: _Units, seed: int) -> list[_Units]:
    held_out = max(2 * FEWEST_PER_PART, round(_HELD_OUT_SHARE * len(units)))
    shift = round(_SHIFT * (seed % 10) * len(units)) % len(units)
    turned = units[len(units) - shift :] + units[: len(units) - shift]
    return [turned[-held_out:], turned[:-held_out]]


def _units(ordered: Sequence[Path], photos: PhotoSpec, fewest: int) -> tuple[_Units, _Units]:
    """What stays together, and what shows the same thing: the same, where that leaves enough to hold some out."""
    contents = [content_hash(path) for path in ordered]
    if (different := len(set(contents))) < fewest:
        few = "" if fewest == 1 else ", or train patch-nearest on what there is"
        raise DataError(
            f"{different} different good images are too few; at least {fewest} are needed.",
            f"Add photos of good parts; a hundred or more give a reliable threshold{few}.",
        )
    alike = _together(ordered, near_duplicates(ordered, photos).tolist())  # copies are near each other too
    # Of fewer, no block could be held out: then copies alone stay together, and what is alike still counts once.
    return (alike if len(alike) >= FEWEST_IMAGES else _together(ordered, contents)), alike


def _together(ordered: Sequence[Path], keys: Sequence[object]) -> _Units:
    units: defaultdict[object, list[Path]] = defaultdict(list)
    for path, key in zip(ordered, keys, strict=True):
        units[key].append(path)
    return [tuple(unit) for unit in units.values()]
