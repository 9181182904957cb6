"""Photos of defective parts that a training learns from: found in folders, recorded, and brought into the input."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.data.masks import marked_pixels
from edge_ad.data.products import Folders, open_product
from edge_ad.data.samples import Sample
from edge_ad.data.splits import content_hash
from edge_ad.errors import CheckpointError, DataError, UsageError
from edge_ad.images import read_image
from edge_ad.models.registry import method_class, method_names
from edge_ad.photo_spec import PhotoSpec
from edge_ad.training.recorded_photos import recorded_name
from edge_ad.training.runs import LabelledRecord

__all__ = ["LabelledPhotos", "check_learns_from_defects", "labelled_records", "labelled_samples", "read_labelled"]


class LabelledPhotos(NamedTuple):
    """Photos of defective parts in the network's input.

    Attributes:
        images: uint8 BGR (D, H, W, 3).
        masks: bool (D, H, W), True where a defect is marked.
        has_mask: bool (D,), False where a photo is known to show a defect, and not where.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    has_mask: NDArray[np.bool_]

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Masks and whether they are known, as `AnomalyDetector.fit_labelled` takes them."""
        return torch.from_numpy(self.masks), torch.from_numpy(self.has_mask)


def check_learns_from_defects(method: str) -> None:
    """Refuse labelled defects for a method that learns from good parts alone.

    Raises:
        UsageError: It does.
    """
    if not method_class(method).learns_from_defects:
        able = ", ".join(name for name in method_names() if method_class(name).learns_from_defects)
        raise UsageError(f"{method} learns from photos of good parts alone.", f"Labelled defects are for {able}.")


def labelled_samples(folders: Sequence[Path], masks: Path | None = None) -> tuple[Sample, ...]:
    """The photos in folders of defective parts, with their masks where there are any.

    Args:
        folders: A folder in one of them is a kind of defect. A mask lies beside its photo, or in a folder of masks.
        masks: Folder of the masks; None looks beside the photos.

    Raises:
        DataError: No such folder, none in it, or masks that do not belong to their photos.
    """
    if not folders:
        return ()
    found = open_product(None, Folders(defects=tuple(folders), masks=masks), part="test").test
    if not found:
        raise DataError(f"There are no photos of defective parts in {folders[0]}.", "Name another folder.")
    return found


def labelled_records(samples: Sequence[Sample], root: Path, good: Collection[str]) -> list[LabelledRecord]:
    """What a run records of them.

    Args:
        samples: The photos.
        root: Folder of the product, as the paths of its good photos begin with it.
        good: Content hashes of the good photos.

    Raises:
        DataError: One of them is one of the good photos too.
    """
    records = []
    for sample in samples:
        digest = content_hash(sample.path)
        if digest in good:
            raise DataError(f"{sample.path} is a photo of a good part too.", "Remove it from one of the folders.")
        masks = {recorded_name(path.resolve(), root): content_hash(path) for path in sample.masks}
        name = recorded_name(sample.path.resolve(), root)
        records.append(LabelledRecord(photo=name, sha256=digest, masks=masks))
    return records


def read_labelled(
    records: Sequence[LabelledRecord], root: Path, size_hw: tuple[int, int], photos: PhotoSpec
) -> LabelledPhotos | None:
    """Read labelled defects as the network sees them; None where there are none.

    Args:
        records: What the run recorded.
        root: Folder of the product.
        size_hw: Height and width of the input, in pixels.
        photos: How photos fill it.

    Raises:
        CheckpointError: One is another one now.
        DataError: One cannot be read, or the part on it cannot be aligned.
    """
    if not records:
        return None
    images = np.empty((len(records), *size_hw, 3), np.uint8)
    masks = np.zeros((len(records), *size_hw), np.bool_)
    for index, record in enumerate(records):
        _check_content(record, root)
        photo = read_image(root / record.photo, photos.significant_bits)
        made = photos.prepare(photo, size_hw)
        if made.problem:
            raise DataError(f"The part on {root / record.photo} cannot be aligned: {made.problem}.", "Remove it.")
        images[index] = made.image
        if record.masks:
            marked, _ = marked_pixels([root / name for name in record.masks])
            masks[index] = photos.mask_in_input(marked, (photo.shape[0], photo.shape[1]), made.matrix, size_hw)
    return LabelledPhotos(images, masks, np.asarray(masks.any((1, 2))))


def _check_content(record: LabelledRecord, root: Path) -> None:
    for name, digest in {record.photo: record.sha256, **record.masks}.items():
        if content_hash(root / name) != digest:
            raise CheckpointError(f"{root / name} is not the image the training began with.", "Train anew.")
