"""The photos of a run in its record: by name, and by the hash of their content."""

from __future__ import annotations

from pathlib import Path

from edge_ad.data.products import Folders
from edge_ad.data.samples import Product
from edge_ad.data.splits import GoodSplit, content_hash
from edge_ad.errors import CheckpointError, DataError
from edge_ad.outside_text import storable
from edge_ad.training.runs import SplitRecord

__all__ = ["check_names", "folders_record", "recorded_name", "same_photos", "split_record"]


def check_names(folders: Folders, product: Product) -> None:
    """Refuse names that the record of a run cannot hold, before anything is written.

    Raises:
        DataError: A name is no UTF-8.
    """
    named = folders.resolved()
    given = (*named.good, *named.defects, *named.more, *filter(None, (named.masks,)))
    for path in (product.root.resolve(), *product.good, *given):
        if storable(str(path)) != str(path):
            raise DataError(f"The name of {path} is no UTF-8.", "Rename it.")


def folders_record(folders: Folders) -> dict[str, list[str]]:
    """Kind → folders that were named, absolute; what was not named is left out."""
    known = folders.resolved()
    named = {"good": known.good, "defects": known.defects, "masks": (known.masks,) if known.masks else ()}
    named["more"] = known.more
    return {kind: [str(path) for path in paths] for kind, paths in named.items() if paths}


def recorded_name(path: Path, root: Path) -> str:
    """A photo's name in the record: below the product's folder, absolute in another one."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def split_record(split: GoodSplit, root: Path) -> SplitRecord:
    """Which photos a run is made of, each with the hash of its content.

    Args:
        split: The photos.
        root: Folder of the product, as their paths begin with it.
    """
    parts = [
        {recorded_name(path, root): content_hash(path) for path in part}
        for part in (split.fit, split.calibrate, split.threshold)
    ]
    folds, duplicates = (
        [[recorded_name(path, root) for path in part] for part in parts] for parts in (split.folds, split.duplicates)
    )
    return SplitRecord(
        seed=split.seed,
        fit=parts[0],
        calibrate=parts[1],
        threshold=parts[2],
        folds=folds,
        duplicates=duplicates,
        in_blocks=split.in_blocks,
    )


def same_photos(record: SplitRecord, root: Path) -> GoodSplit:
    """The photos of a run, which must still be those that its training began with.

    Args:
        record: What the run recorded.
        root: Folder of the product.

    Raises:
        CheckpointError: One is another one now.
    """
    parts = []
    for part in (record.fit, record.calibrate, record.threshold):
        for name, digest in part.items():
            if content_hash(root / name) != digest:
                raise CheckpointError(
                    f"{root / name} is not the image the training began with.", "Put it back, or train anew."
                )
        parts.append(tuple(root / name for name in part))
    fit, calibrate, threshold = parts
    folds, duplicates = (
        tuple(tuple(root / name for name in part) for part in parts) for parts in (record.folds, record.duplicates)
    )
    return GoodSplit(
        record.seed, fit, calibrate, threshold, folds=folds, duplicates=duplicates, in_blocks=record.in_blocks
    )
