"""Products: which images of a folder are good, which are test images, and where their masks are."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from edge_ad.data.layouts.layout import KNOWN_LAYOUTS, Folders, Layout, TestPhoto, common_root
from edge_ad.data.layouts.reading import folders_in_words, read_layout
from edge_ad.data.product_check import ground_truth_remarks, mask_remarks, without_unreadable
from edge_ad.data.samples import Product, Sample
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError
from edge_ad.outside_text import printable
from edge_ad.photo_spec import PhotoSpec

__all__ = [
    "Folders",
    "Part",
    "folders_hint",
    "list_good_photos",
    "list_photos",
    "list_test_photos",
    "open_product",
]

Part: TypeAlias = Literal["good", "test", "all"]
"""Which photos of a product are needed: to train on, to test with, or both."""

_log = logging.getLogger(__name__)


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
    product, looks = without_unreadable(product, photos or PhotoSpec(), skip=skip_unreadable)
    remarks = [*product.remarks, *mask_remarks(product, layout, looks), *ground_truth_remarks(product, layout)]
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
