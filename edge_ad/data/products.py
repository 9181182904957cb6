"""Products: which images of a folder are good, which are test images, and where their masks are."""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.layouts.layout import KNOWN_LAYOUTS, Folders, Layout, TestPhoto, common_root
from edge_ad.data.layouts.reading import folders_in_words, read_layout
from edge_ad.data.masks import MaskSizesError, covers_most, marked_pixels, misfit
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.outside_text import printable
from edge_ad.photo_spec import PhotoSpec

__all__ = [
    "Folders",
    "Part",
    "Product",
    "Sample",
    "folders_hint",
    "list_good_photos",
    "list_photos",
    "list_test_photos",
    "open_product",
    "read_mask",
    "resize_mask",
]

Part: TypeAlias = Literal["good", "test", "all"]
"""Which photos of a product are needed: to train on, to test with, or both."""

_SHOWN = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """One test image.

    Attributes:
        path: The image file.
        is_defective: Whether the part has a defect.
        defect_type: Name of the defect's folder; ``"good"`` for a good part.
        mask_path: Mask of the defect; None for good parts and where nobody drew one.
        more_masks: Further masks of it, which are united with the first.
    """

    path: Path
    is_defective: bool
    defect_type: str
    mask_path: Path | None
    more_masks: tuple[Path, ...] = ()

    @property
    def masks(self) -> tuple[Path, ...]:
        """All its masks."""
        return () if self.mask_path is None else (self.mask_path, *self.more_masks)


@dataclass(frozen=True)
class Product:
    """The images of one product.

    Attributes:
        name: Name of the folder.
        root: The folder.
        good: Images of good parts for training, sorted by path; empty where only test images were asked for.
        test: Test images, sorted by type and path; empty for a flat folder.
        skipped: Unreadable files that were left out because that was asked for.
        remarks: What was left out, which masks were not found, and what looks odd: a line each.
    """

    name: str
    root: Path
    good: tuple[Path, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()


def open_product(
    root: Path | None,
    folders: Folders | None = None,
    *,
    part: Part = "all",
    skip_unreadable: bool = False,
    trained_on: Container[str] = frozenset(),
    learned_defects: Container[str] = frozenset(),
    photos: PhotoSpec | None = None,
) -> Product:
    """Open a folder of images and check that every one that is needed can be decoded.

    `read_layout` says which layouts are known. What is left out is logged, a line for each remark.

    Args:
        root: The folder; None where the named folders say it all.
        folders: Folders that the user names.
        part: ``"good"`` looks at no test image, ``"test"`` needs none to train on.
        skip_unreadable: Leave unreadable files out, and log each of them, instead of raising.
        trained_on: Content hashes that are not tested with where the layout leaves open which good photos are.
        learned_defects: Content hashes of defective photos that were learned from, which are not tested with.
        photos: What the photos were like that were trained on: one of another depth or shape counts as unreadable.

    Raises:
        DataError: No such folder, no images in it, unreadable images, or masks that do not belong to their photos.
    """
    layout = _layout(root, folders, part)
    remarks = _left_out(layout)
    good = () if part == "test" else tuple(layout.good)
    test = () if part == "good" else tuple(_sample(layout, photo) for photo in _tested(layout, trained_on))
    if learned_defects and (learned := [sample for sample in test if _is_learned(sample, learned_defects)]):
        test = tuple(sample for sample in test if sample not in learned)
        remarks.append(f"{len(learned)} defective photos were learned from, and are not tested with.")
    if part != "test" and not good:
        raise _no_good(layout.root)
    if layout.shared and part == "good" and len(layout.good) < len(layout.shared):
        held, found = len(layout.shared) - len(layout.good), folders_in_words(layout.root)
        remarks.append(f"{held} of {len(layout.shared)} good photos are held out to evaluate on; found {found}.")
    if layout.shared and part == "test" and trained_on:
        count = sum(not sample.is_defective for sample in test)
        remarks.append(f"{count} of {len(layout.shared)} good photos were not trained on and are tested with.")
    product = Product(layout.root.resolve().name, layout.root, good, test, remarks=tuple(remarks))
    product, looks = _without_unreadable(product, photos or PhotoSpec(), skip=skip_unreadable)
    remarks = [*product.remarks, *_mask_remarks(product, layout, looks), *_ground_truth_remarks(product, layout)]
    product = replace(product, remarks=tuple(remarks))
    _tell(product.remarks)
    return product


def list_photos(root: Path) -> list[Path]:
    """Photos to measure speed with: those to test with, or without any those of good parts; none is opened.

    Raises:
        DataError: As in `read_layout`, or there are none.
    """
    layout = read_layout(root, Folders())
    photos = [photo.path for photo in layout.test] or layout.good
    if not photos:
        raise _no_good(root)
    return photos


def list_good_photos(root: Path) -> tuple[Path, ...]:
    """The photos of good parts in a folder; none is opened. What is left out is logged.

    Raises:
        DataError: As in `read_layout`, or there are none.
    """
    layout = read_layout(root, Folders(), "good")
    if not layout.good:
        raise _no_good(root)
    _tell(_left_out(layout))
    return tuple(layout.good)


def list_test_photos(root: Path, folders: Folders | None, trained_on: Container[str]) -> list[Path]:
    """The photos that a product is tested with, as in `open_product`; none is opened.

    Raises:
        DataError: As in `read_layout`.
    """
    return [photo.path for photo in _tested(_layout(root, folders, "test"), trained_on)]


def folders_hint(root: Path) -> str:
    """What to give instead of a folder whose layout is not known: products in it, or the folders with photos."""
    products = [path for name in ("train", "test", "Data") for path in root.glob(f"*/{name}") if path.is_dir()]
    if inner := sorted({path.parent.name for path in products}):
        return f"It holds products; give one of them: {', '.join(inner[:5])}."
    found = folders_in_words(root)
    return f"It holds {found}. Name the folders: --good DIR --defect DIR --masks DIR." if found else KNOWN_LAYOUTS


def read_mask(sample: Sample, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Read the mask of a test image.

    Args:
        sample: The test image.
        size_hw: Height and width of the result, in pixels.

    Returns:
        bool (h, w), True where the defect is; all False for a good part.

    Raises:
        DataError: A defective sample without a mask, or a mask that cannot be decoded.
    """
    if not sample.is_defective:
        return np.zeros(size_hw, np.bool_)
    if sample.mask_path is None:
        raise DataError(f"No mask for the defective image {sample.path}.")
    return resize_mask(marked_pixels(sample.masks)[0], size_hw)


def resize_mask(mask: NDArray[np.bool_], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask by its nearest pixels; a defect so small that none of them marks it stays marked.

    Args:
        mask: bool (H, W).
        size_hw: Height and width of the result, in pixels.

    Returns:
        bool (h, w).
    """
    pixels = mask.astype(np.uint8)
    resized = cv2.resize(pixels, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    if pixels.any() and not resized.any():  # nearest-neighbour sampling jumped over a very small defect
        resized = cv2.resize(pixels.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA) > 0
    return np.asarray(resized, np.bool_)


def _layout(root: Path | None, folders: Folders | None, part: Part) -> Layout:
    folders = folders or Folders()
    layout = _main_layout(root, folders, part)
    for folder in folders.resolved().more:
        layout.extend(read_layout(folder, Folders(), part))
    return layout


def _main_layout(root: Path | None, folders: Folders, part: Part) -> Layout:
    if not (folders.good or folders.defects):
        if root is None:
            raise DataError("No folder of photos was named.", KNOWN_LAYOUTS)
        return read_layout(root, folders, part)
    # Records name photos by their path below one folder, wherever the command was given.
    folders = folders.resolved()
    top = None if root is None else root.resolve()
    named = (*folders.good, *folders.defects)
    if top is None or not all(path.is_relative_to(top) for path in named):
        top = common_root(folders)
    return read_layout(top, folders, part)


def _left_out(layout: Layout) -> list[str]:
    return [f"Left out of {layout.root}: {', '.join(layout.left_out)}."] if layout.left_out else []


def _tell(remarks: Iterable[str]) -> None:
    for remark in remarks:
        _log.warning("%s", printable(remark))


def _tested(layout: Layout, trained_on: Container[str]) -> Iterable[TestPhoto]:
    """Of good photos that both could take, those that were not trained on: never one of them, and no fewer."""
    if not layout.shared or not trained_on:
        return layout.test
    fresh = [TestPhoto(path, None) for path in layout.shared if content_hash(path) not in trained_on]
    return [*fresh, *(photo for photo in layout.test if photo.defect_type is not None)]


def _is_learned(sample: Sample, learned_defects: Container[str]) -> bool:
    return sample.is_defective and content_hash(sample.path) in learned_defects


def _sample(layout: Layout, photo: TestPhoto) -> Sample:
    if photo.defect_type is None:
        return Sample(photo.path, False, "good", None)
    masks = (photo.mask,) if photo.mask else layout.masks.of(photo.path, photo.folders)
    return Sample(photo.path, True, photo.defect_type, masks[0] if masks else None, masks[1:])


def _no_good(root: Path) -> DataError:
    return DataError(f"No images of good parts in {root}.", folders_hint(root))


class _Look(NamedTuple):
    """What was seen of a file and its masks."""

    problems: dict[Path, str]  # file → why it cannot be read
    misfit: str | None = None
    highest: int | None = None  # value of a mask that marks nothing
    is_inverted: bool = False


def _without_unreadable(product: Product, photos: PhotoSpec, *, skip: bool) -> tuple[Product, dict[Path, _Look]]:
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


def _look(sample: Sample, photos: PhotoSpec) -> _Look:
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
            return _Look(problems)
        marked, highest = marked_pixels(sample.masks)
    except MaskSizesError as error:
        return _Look(problems, error.message)
    except DataError as error:
        named = next((path for path in sample.masks if str(path) in error.message), sample.masks[0])
        return _Look({**problems, named: error.message})
    if shape is None:
        return _Look(problems)
    mask_hw = marked.shape[0], marked.shape[1]
    odd = misfit(sample.path, shape, sample.masks, mask_hw)
    return _Look(problems, odd, None if marked.any() else highest, covers_most(marked))


def _mask_remarks(product: Product, layout: Layout, looks: dict[Path, _Look]) -> Iterable[str]:
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


def _ground_truth_remarks(product: Product, layout: Layout) -> Iterable[str]:
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
    remark = f"{len(unreadable)} image files of {product.root} were left out: they cannot be read."
    skipped = tuple(sorted(unreadable))
    return replace(product, good=good, test=test, skipped=skipped, remarks=(*product.remarks, remark))
