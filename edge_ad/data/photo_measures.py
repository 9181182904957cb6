"""Significant bits and shapes of a product's good photos, found over all of them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, cast

from edge_ad.errors import DataError
from edge_ad.images import ImageFacts, probe_image
from edge_ad.outside_text import printable
from edge_ad.photo_spec import BIT_DEPTHS, PhotoSpec

__all__ = ["measure_photos"]

_SHOWN = 3
_FEW = 0.1  # share of the photos; a larger group is normal for the product
_FARTHEST_BITS = 4  # more than the others: sixteen times as bright means another scale, not another light
_log = logging.getLogger(__name__)


def measure_photos(paths: Sequence[Path]) -> PhotoSpec:
    """Find the depth and the shapes of photos of good parts, without a look at any test image.

    The significant bits are the fewest of 8, 10, 12, 14 and 16 that hold every value of every photo: a camera of
    12 bits saves 0 to 4095 in files of 16, and their high byte would be almost black.

    Args:
        paths: Photos of good parts, at least one.

    Raises:
        DataError: One cannot be read; files of 8 and of more significant bits are mixed; a few use far more bits than
            the others, or are of another shape.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding releases the interpreter lock
        facts = dict(zip(paths, pool.map(probe_image, paths), strict=True))
    bits = _significant_bits(facts)
    sizes = Counter(fact.size_hw for fact in facts.values())
    ratios = [width / height for height, width in sizes]
    size_hw = sizes.most_common(1)[0][0]
    _refuse_odd_shapes(facts, size_hw)
    spec = PhotoSpec(
        significant_bits=bits,
        aspect_ratios=(min(ratios), max(ratios)),
        size_hw=size_hw,
        smallest_hw=(min(height for height, _ in sizes), min(width for _, width in sizes)),
    )
    _mention(facts)
    return spec


def _significant_bits(facts: Mapping[Path, ImageFacts]) -> Literal[8, 10, 12, 14, 16]:
    used = {path: _bits_of(fact.highest) for path, fact in facts.items()}
    bits = max(used.values())
    short = [path for path, fact in facts.items() if fact.file_bits == 8]
    if bits > 8 and short:
        raise DataError(
            f"{len(short)} of {len(facts)} photos have 8 bits and the others {bits}: {_names(short)}.",
            "Save all photos with the depth of the line's camera.",
        )
    usual = sorted(used.values())[len(used) // 2]
    odd = [path for path, value in used.items() if value >= usual + _FARTHEST_BITS]
    if odd and len(odd) <= max(1, _FEW * len(used)):
        raise DataError(
            f"{len(odd)} of {len(facts)} photos use {bits} bits and most of the others {usual}: {_names(odd)}.",
            "They have another scale, or are damaged: save them like the others, or remove them.",
        )
    return cast("Literal[8, 10, 12, 14, 16]", bits)


def _refuse_odd_shapes(facts: Mapping[Path, ImageFacts], usual_hw: tuple[int, int]) -> None:
    """Refuse a few photos of another shape than nearly all others: frames of every shape between would be judged."""
    usual = PhotoSpec(aspect_ratios=(usual_hw[1] / usual_hw[0],) * 2)
    odd = [path for path, fact in facts.items() if usual.shape_problem(*fact.size_hw)]
    if odd and len(odd) <= max(1, _FEW * len(facts)):
        height, width = facts[odd[0]].size_hw
        raise DataError(
            f"{len(odd)} of {len(facts)} photos are of another shape than the others: {_names(odd)} "
            f"({width}×{height}, not {usual_hw[1]}×{usual_hw[0]}).",
            "Remove them, or crop them like the others.",
        )


def _bits_of(highest: int) -> int:
    return next(bits for bits in BIT_DEPTHS if highest < 1 << bits)


def _mention(facts: Mapping[Path, ImageFacts]) -> None:
    """Log what may surprise about how the photos are read."""
    pages = [path for path, fact in facts.items() if fact.has_further_pages]
    if pages:
        _log.warning("%d photos have several pages, of which only the first is read: %s.", len(pages), _names(pages))


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:_SHOWN])
    return printable(shown) + (", …" if len(paths) > _SHOWN else "")
