"""Masks of defects: which file belongs to which photo, and which of its pixels are marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import read_image, read_stored, storage_facts, unturned_size
from edge_ad.photo_files import find_photos

__all__ = [
    "MaskIndex",
    "MaskSizesError",
    "covers_most",
    "is_mask_folder",
    "looks_drawn",
    "marked_pixels",
    "misfit",
    "split_masks",
]

_MASK_FOLDERS = frozenset({"ground_truth", "groundtruth", "ground-truth", "gt", "mask", "masks", "label", "labels"})
_MASK_FOLDERS |= {"annotation", "annotations", "segmentation"}
_MASK_ENDS = ("mask", "masks", "_gt", "groundtruth", "groundtruths", "ground_truths")
_WORDS = ("mask", "masks", "gt", "label", "labels")
_SUFFIXES = ("", *(f"{joint}{word}" for joint in "_-." for word in _WORDS))
_LOSSY_SHARE = 0.25  # of the highest value: JPEG leaves waves of up to a sixth beside an edge
_DRAWN_SHARE = 0.9  # of the pixels of a mask with soft edges are black or as bright as can be
_MOST_VALUES = 16  # of a mask that lies beside its photo under the same name; a photo has many more


def is_mask_folder(name: str) -> bool:
    """Whether a folder of this name holds masks: a known name, or one that ends in ``mask``."""
    lower = name.lower().strip()
    return lower in _MASK_FOLDERS or lower.endswith(_MASK_ENDS)


class MaskSizesError(DataError):
    """The masks of one photo have different sizes."""


@dataclass
class MaskIndex:
    """The masks of a product, found by their folders and names.

    A mask belongs to a photo of the same stem, or the stem with ``_mask``, ``_gt`` or ``_label``, in any case and with
    any image ending; or it lies in a folder named like the photo's stem, whose masks are united. The other folders it
    lies in are folders of the photo too, or of no photo: ``ground_truth/scratch`` has no mask of ``test/dent``.

    Attributes:
        root: Folder of the product, which messages leave out.
        folders: Where masks were looked for.
        photo_folders: Names of the photos' folders, in lower case.
        photo_stems: Stems of the photos, in lower case.
    """

    root: Path
    folders: list[Path] = field(default_factory=list)
    photo_folders: set[str] = field(default_factory=set)
    photo_stems: set[str] = field(default_factory=set)
    _masks: dict[str, list[tuple[tuple[str, ...], Path]]] = field(default_factory=dict)
    _owners: dict[Path, Path] = field(default_factory=dict)

    def add_folder(self, folder: Path) -> None:
        """Add the masks in a folder and below."""
        self.folders.append(folder)
        for path in find_photos(folder, recursive=True).photos:
            self.add(path, path.parent.relative_to(folder).parts)

    def add(self, path: Path, folders: Iterable[str] = ()) -> None:
        """Add a mask file with those of its folders that identify its photo."""
        parts = tuple(part.lower() for part in folders)
        self._masks.setdefault(path.stem.lower(), []).append((parts, path))
        if parts:  # perhaps that of the photo, in a folder named like its stem
            self._masks.setdefault(f"{parts[-1]}/", []).append((parts[:-1], path))

    def of(self, photo: Path, folders: Iterable[str]) -> tuple[Path, ...]:
        """The masks of a photo: none, one, or several to unite.

        Args:
            photo: The photo.
            folders: Names of its folders that a mask's folders may have too.

        Raises:
            DataError: Several files could be its mask, or its mask is another photo's too.
        """
        own, stem = {part.lower() for part in folders}, photo.stem.lower()
        single = self._nearest([f"{stem}{suffix}" for suffix in _SUFFIXES], own, photo)
        # Where names differ only by case, the case decides.
        single = [path for path in single if path.stem.startswith(photo.stem)] or single
        united = self._nearest([f"{stem}/"], own, photo)
        if single and stem in self.photo_folders:  # the folder of that name is a type of defect
            united = []
        if len(single) > 1 or (single and united):
            names = ", ".join(self._name(path) for path in sorted({*single, *united}))
            raise DataError(f"Several files could be the mask of {self._name(photo)}: {names}.", "Keep one of them.")
        found = tuple(sorted(single or united))
        for path in found:
            if (other := self._owners.setdefault(path, photo)) != photo:
                raise DataError(
                    f"{self._name(path)} could be the mask of {self._name(other)} and of {self._name(photo)}.",
                    "Sort the masks into folders named like those of the photos.",
                )
        return found

    def unused(self) -> list[Path]:
        """Masks that `of` has assigned to no photo."""
        return sorted({path for found in self._masks.values() for _, path in found} - set(self._owners))

    def _nearest(self, names: Sequence[str], own: set[str], photo: Path) -> list[Path]:
        """Files of these names in the folders most similar to the photo's, except folders of other photos."""
        others = (self.photo_folders | self.photo_stems) - own
        found = [
            (len(own.intersection(parts)) - len(set(parts) - own), path)
            for name in names
            for parts, path in self._masks.get(name, ())
            if others.isdisjoint(parts) and path != photo
        ]
        most = max((likeness for likeness, _ in found), default=0)
        return [path for likeness, path in found if likeness == most]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


def split_masks(photos: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Separate photos from masks beside them: ``a_mask.png`` beside ``a.jpg``, or an ``a.png`` of few values.

    Returns:
        The photos, and the masks.

    """
    by_stem: dict[tuple[Path, str], list[Path]] = {}
    for path in photos:
        by_stem.setdefault((path.parent, path.stem.lower()), []).append(path)
    masks = {path for path in photos if _is_suffixed(path, by_stem) or _is_twin(path, by_stem)}
    return tuple(path for path in photos if path not in masks), tuple(path for path in photos if path in masks)


def _is_suffixed(path: Path, by_stem: Mapping[tuple[Path, str], object]) -> bool:
    stem = path.stem.lower()
    return any(stem.endswith(end) and (path.parent, stem.removesuffix(end)) in by_stem for end in _SUFFIXES[1:])


def _is_twin(path: Path, by_stem: Mapping[tuple[Path, str], list[Path]]) -> bool:
    twins = by_stem[path.parent, path.stem.lower()]
    if len(twins) < 2 or path.suffix.lower() not in (".png", ".bmp", ".tif", ".tiff", ".webp"):
        return False
    try:
        return looks_drawn(read_image(path))
    except DataError:
        return False  # reading the photos will report it


def looks_drawn(image: NDArray[np.uint8]) -> bool:
    """Whether a picture looks like a mask: few values, or grey and nearly all black or white, with soft edges.

    Args:
        image: uint8 (H, W, 3).
    """
    grey = image[..., 0]
    if not (np.array_equal(grey, image[..., 1]) and np.array_equal(grey, image[..., 2])):
        return len(np.unique(image)) <= _MOST_VALUES
    counts = np.bincount(grey.ravel(), minlength=256)
    if np.count_nonzero(counts) <= _MOST_VALUES:
        return True
    return bool(counts[0] + counts[grey.max()] >= _DRAWN_SHARE * grey.size)


def marked_pixels(paths: Sequence[Path]) -> tuple[NDArray[np.bool_], int]:
    """Read masks and unite them.

    Every pixel above 0 in any channel is marked, whatever the depth; of a file with lossy compression, whose values are
    not exact, above a quarter of the highest. Where the colour is the same everywhere and alpha is not, alpha is the
    mask.

    Args:
        paths: Mask files of one photo, at least one.

    Returns:
        bool (H, W), and the highest value in them.

    Raises:
        MaskSizesError: They have different sizes.
        DataError: One cannot be read, or has several pages.
    """
    facts = [storage_facts(path) for path in paths]
    if paged := [path for path, fact in zip(paths, facts, strict=True) if fact.has_further_pages]:
        raise DataError(f"A mask has several pages, of which only the first could be read: {paged[0]}.", "Unite them.")
    values = [_mask_values(read_stored(path)) for path in paths]
    if len({value.shape for value in values}) > 1:
        sizes = ", ".join(sorted({f"{value.shape[1]} x {value.shape[0]}" for value in values}))
        raise MaskSizesError(f"the masks in {paths[0].parent} have different sizes ({sizes})", "Draw them again.")
    lows = [int(_LOSSY_SHARE * value.max()) if fact.is_lossy else 0 for fact, value in zip(facts, values, strict=True)]
    united = np.any([value > low for value, low in zip(values, lows, strict=True)], axis=0)
    return united, max(int(value.max()) for value in values)


def _mask_values(stored: NDArray[np.generic]) -> NDArray[Any]:
    """The highest channel of each pixel, (H, W)."""
    if stored.ndim == 2:
        return stored
    if stored.shape[2] != 4:
        return np.asarray(stored.max(axis=2))
    colour, alpha = stored[..., :3], stored[..., 3]
    has_shape = [bool((part != part[0, 0]).any()) for part in (colour, alpha)]
    if has_shape == [False, True]:
        return np.asarray(alpha)
    highest = np.asarray(colour.max(axis=2))
    return np.where(np.asarray(alpha) > 0, highest, 0) if all(has_shape) else highest


def covers_most(marked: NDArray[np.bool_]) -> bool:
    """Whether a mask looks inverted: most of the picture is marked, and most of its border."""
    border = np.concatenate([marked[0], marked[-1], marked[:, 0], marked[:, -1]])
    return bool(marked.mean() > 0.5 and border.mean() > 0.5)


def misfit(photo: Path, photo_hw: tuple[int, int], masks: Sequence[Path], mask_hw: tuple[int, int]) -> str | None:
    """Why a mask does not fit a photo: another shape, or an Exif rotation that the sizes cannot resolve.

    Args:
        photo: The photo.
        photo_hw: Its height and width as it is seen, in pixels.
        masks: Its masks.
        mask_hw: Height and width of these, in pixels.

    Returns:
        What is wrong, in words; None when they fit, at the photo's own size or at another scale.

    Raises:
        DataError: The photo cannot be read.
    """
    stored_hw = unturned_size(photo)
    fits_stored = stored_hw is not None and _same_shape(stored_hw, mask_hw)
    (height, width), name = photo_hw, masks[0].name
    if not _same_shape(photo_hw, mask_hw):
        why = "; Exif turns the photo, and the mask was drawn on it unturned" if fits_stored else ""
        return f"{name} is {mask_hw[1]} x {mask_hw[0]}, its photo {photo.name} {width} x {height}{why}"
    if fits_stored:
        return f"Exif turns {photo.name}, and the size of {name} does not tell whether it was drawn on the turned photo"
    return None


def _same_shape(photo_hw: tuple[int, int], mask_hw: tuple[int, int]) -> bool:
    """Whether one is the other at some scale, rounded to whole pixels."""
    expected = photo_hw[0] * mask_hw[1] / photo_hw[1]
    return abs(expected - mask_hw[0]) <= min(1.0, 0.02 * mask_hw[0])
