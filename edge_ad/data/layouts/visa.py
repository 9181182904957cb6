"""VisA's split file: a list of every photo with its part, its label and its mask."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from edge_ad.data.layouts.layout import Layout, TestPhoto
from edge_ad.data.layouts.names import is_good_name
from edge_ad.errors import DataError

__all__ = ["read_visa_split", "visa_split"]

_VISA_SPLIT = Path("split_csv", "1cls.csv")


def visa_split(root: Path) -> Path | None:
    """VisA's split file, where there is one that names the product.

    Raises:
        DataError: It cannot be read.
    """
    path = root.resolve().parent / _VISA_SPLIT
    return path if path.is_file() and _visa_rows(path, root) else None


def _visa_rows(split: Path, root: Path) -> list[dict[str, str]]:
    try:
        with split.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if row["object"].lower() == root.resolve().name.lower()]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError):
        raise DataError(
            f"The split cannot be read: {split}.", "It needs the columns object, split, label, image and mask."
        ) from None


def read_visa_split(layout: Layout, split: Path) -> None:
    """Add the photos of a product as the split file divides them.

    Raises:
        DataError: A row is not complete, or names what is not in the product's folder.
    """
    for row in _visa_rows(split, layout.root):
        part, label, image, mask = ((row.get(key) or "").strip() for key in ("split", "label", "image", "mask"))
        if part not in ("train", "test") or not label or not image:
            raise DataError(f"{split} lacks the part, label or image of {image!r}.", "Copy the split again.")
        path = _listed(layout.root, image, split)
        if part == "test":
            kind, drawn = (None if is_good_name(label) else label), _listed(layout.root, mask, split) if mask else None
            layout.test.append(TestPhoto(path, kind, (), drawn))
        elif is_good_name(label):
            layout.good.append(path)
    layout.good.sort()
    layout.masks.folders.append(split)


def _listed(root: Path, name: str, split: Path) -> Path:
    """A file that the split names by its path from the folder of all products."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if len(parts) < 2 or ".." in parts or parts[0].lower() != root.resolve().name.lower():
        raise DataError(f"{split} names {name!r}, which is not in {root}.", "Copy the split again.")
    return root.joinpath(*parts[1:])
