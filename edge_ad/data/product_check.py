"""Whether every photo and mask of a product can be read, and what is odd about its masks."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edge_ad.data.layouts.layout import Layout, TestPhoto
from edge_ad.data.masks import MaskSizesError, covers_most, marked_pixels, misfit
from edge_ad.data.samples import Product, Sample
from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.outside_text import printable
from edge_ad.photo_spec import PhotoSpec

__all__ = ["Look", "ground_truth_remarks", "mask_remarks", "without_unreadable"]

_SHOWN = 3
_log = logging.getLogger(__name__)


class Look(NamedTuple):
    """What was seen of a photo and its masks.

    Attributes:
        problems: File → why it cannot be read.
        misfit: Why a mask does not fit; None where it does.
        highest: Largest value of a mask that marks nothing; None where it marks something.
        is_inverted: Whether most of the picture is marked.
    """

    problems: dict[Path, str]
    misfit: str | None = None
    highest: int | None = None
    is_inverted: bool = False


def without_unreadable(product: Product, photos: PhotoSpec, *, skip: bool) -> tuple[Product, dict[Path, Look]]:
    """Decode every photo and mask.

    Args:
        product: The product.
        photos: What its photos must be like.
        skip: Whether to leave out, and log, what cannot be read, instead of raising.

    Returns:
        The product without it, and what was seen of each photo.

    Raises:
        DataError: A file that cannot be read, or a mask that does not fit its photo.
    """
    samples = [Sample(path, False, "good", None) for path in product.good] + list(product.test)
    look = partial(_look, photos=photos)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding releases the interpreter lock
        looks = {sample.path: look for sample, look in zip(samples, pool.map(look, samples), strict=True)}
    problems = {path: problem for look in looks.values() for path, problem in look.problems.items()}
    if problems and not skip:
        raise _unreadable(product, problems, len(samples) + sum(len(sample.masks) for sample in samples))
    for problem in problems.values():
        _log.warning("Skipped: %s", printable(problem))
    if misfits := [look.misfit for look in looks.values() if look.misfit]:
        count = f"{len(misfits)} masks do not fit" if len(misfits) > 1 else "A mask does not fit"
        raise DataError(
            f"{count}: {'; '.join(misfits[:_SHOWN])}{'; …' if len(misfits) > _SHOWN else ''}.",
            "Draw masks on the photos as they are seen, or save these photos turned and without Exif orientation.",
        )
    return (_left_over(product, set(problems)) if problems else product), looks


def _look(sample: Sample, photos: PhotoSpec) -> Look:
    problems: dict[Path, str] = {}
    shape: tuple[int, int] | None = None
    try:
        height, width = read_image(sample.path, photos.significant_bits).shape[:2]
        shape = height, width
        if problem := photos.shape_problem(height, width):
            problems[sample.path] = f"{sample.path} cannot be judged: {problem}."
    except DataError as error:
        problems[sample.path] = error.message
    try:
        if not sample.masks:
            return Look(problems)
        marked, highest = marked_pixels(sample.masks)
    except MaskSizesError as error:
        return Look(problems, error.message)
    except DataError as error:
        named = next((path for path in sample.masks if str(path) in error.message), sample.masks[0])
        return Look({**problems, named: error.message})
    if shape is None:
        return Look(problems)
    mask_hw = marked.shape[0], marked.shape[1]
    odd = misfit(sample.path, shape, sample.masks, mask_hw)
    return Look(problems, odd, None if marked.any() else highest, covers_most(marked))


def mask_remarks(product: Product, layout: Layout, looks: dict[Path, Look]) -> Iterable[str]:
    """What is odd about the masks of defective photos: missing, empty, inverted."""
    defective = [sample for sample in product.test if sample.is_defective]
    missing = [sample.path for sample in defective if not sample.masks]
    empty = [sample.path for sample in defective if looks[sample.path].highest is not None]
    inverted = [path for sample in defective if looks[sample.path].is_inverted for path in sample.masks[:1]]
    total, name = len(defective), layout.name_of
    if missing:
        places = ", ".join(name(path) for path in layout.masks.folders) or "no folder of masks is there"
        yield (
            f"{len(missing)} of {total} masks were not found (looked in: {places}), such as of "
            f"{_some(map(name, missing))}; pixel metrics leave these photos out."
        )
    if empty:
        highest = max(looks[path].highest or 0 for path in empty)
        yield (
            f"{len(empty)} of {total} masks were found and mark nothing (highest value {highest}), of "
            f"{_some(map(name, empty))}; pixel metrics leave these photos out."
        )
    if inverted:
        yield (
            f"{len(inverted)} of {total} masks look inverted, as most of the picture and its border are marked: "
            f"{_some(map(name, inverted))}. Any value above 0 is a defect; look at them."
        )


def ground_truth_remarks(product: Product, layout: Layout) -> Iterable[str]:
    """Masks that contradict where their photo lies, or that belong to none."""
    if not product.test:
        return
    marked = [photo.path for photo in layout.test if photo.defect_type is None and _is_marked(layout, photo)]
    if marked:
        yield (
            f"{len(marked)} good test photos have a mask that marks a defect, and count as good: "
            f"{_some(map(layout.name_of, marked))}."
        )
    if unused := layout.masks.unused():
        yield f"{len(unused)} masks belong to no photo, such as {_some(map(layout.name_of, unused))}."


def _is_marked(layout: Layout, photo: TestPhoto) -> bool:
    try:
        masks = layout.masks.of(photo.path, photo.folders)
        return bool(masks) and bool(marked_pixels(masks)[0].any())
    except DataError:  # names that several photos share say nothing of this one
        return False


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")


def _unreadable(product: Product, problems: dict[Path, str], total: int) -> DataError:
    names = [str(path.relative_to(product.root)) if path.is_relative_to(product.root) else str(path)
             for path in problems]  # fmt: skip
    return DataError(
        f"{len(names)} of {total} image files in {product.root} cannot be read: {_some(names)}.",
        "Replace them, or leave them out with --skip-unreadable.",
    )


def _left_over(product: Product, unreadable: set[Path]) -> Product:
    good = tuple(path for path in product.good if path not in unreadable)
    test = tuple(sample for sample in product.test if not {sample.path, *sample.masks} & unreadable)
    if product.good and not good:
        raise DataError(f"None of the {len(product.good)} images of good parts in {product.root} can be read.")
    remark = f"{len(unreadable)} image files of {product.root} were left out: they cannot be read or judged."
    skipped = tuple(sorted(unreadable))
    return replace(product, good=good, test=test, skipped=skipped, remarks=(*product.remarks, remark))
