"""The layout of a product's folder: its good photos, test photos and masks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_ad.data.layouts.names import TEST_NAMES, is_good_name, is_not_of_good
from edge_ad.data.masks import MaskIndex, is_mask_folder, marked_pixels, split_masks
from edge_ad.errors import DataError
from edge_ad.photo_files import find_photos

__all__ = ["KNOWN_LAYOUTS", "Folders", "Layout", "TestPhoto", "common_root", "is_within"]

KNOWN_LAYOUTS = (
    "Give a folder of photos of good parts, or one with train/good (and test/<type>, ground_truth/<type>), "
    "or name the folders: --good DIR --defect DIR --masks DIR."
)


@dataclass(frozen=True)
class Folders:
    """Folders that the user names, where the product's folder does not tell.

    Attributes:
        good: Photos of good parts, with those in all folders inside.
        defects: Photos of defective parts, likewise; a folder inside is a type of defect.
        masks: Masks of the defects; None looks beside the photos.
        more: Further folders of the same product, each with a layout of its own: all their good photos are trained on.
    """

    good: tuple[Path, ...] = ()
    defects: tuple[Path, ...] = ()
    masks: Path | None = None
    more: tuple[Path, ...] = ()

    def resolved(self) -> Folders:
        """The same folders by their absolute paths."""
        good, defects, more = (
            tuple(path.resolve() for path in paths) for paths in (self.good, self.defects, self.more)
        )
        return Folders(good, defects, None if self.masks is None else self.masks.resolve(), more)


@dataclass(frozen=True)
class TestPhoto:
    """A photo to test with.

    Attributes:
        path: The file.
        defect_type: Its type; None for a good part.
        folders: Names of its folders that its mask's folders may have too.
        mask: Its mask, where a list names it.
    """

    __test__ = False  # not a test, whatever pytest concludes from the name

    path: Path
    defect_type: str | None
    folders: tuple[str, ...] = ()
    mask: Path | None = None


@dataclass
class Layout:
    """The contents of a product's folder.

    Attributes:
        root: The folder.
        good: Photos to train on.
        test: Photos to test with.
        masks: Where masks are.
        shared: All good photos, where the layout does not divide them into training and test photos.
        left_out: What is not used, in words.
        part: What is needed: ``"good"`` to train on, ``"test"`` or ``"all"``; the rest is not read.
    """

    root: Path
    good: list[Path] = field(default_factory=list)
    test: list[TestPhoto] = field(default_factory=list)
    masks: MaskIndex = field(init=False)
    shared: tuple[Path, ...] = ()
    left_out: list[str] = field(default_factory=list)
    part: str = "all"

    def __post_init__(self) -> None:
        self.masks = MaskIndex(self.root)

    def add_good(self, folder: Path, *, without: Sequence[Path] = ()) -> list[Path]:
        """Photos of good parts in a folder and below; refuses folders named like those of defects or masks."""
        photos = [path for path in self._photos(folder) if not is_within(path, without)]
        photos = [path for path in photos if not any(is_mask_folder(inner.name) and _marks_nothing(path)
                                                     for inner in _inner(path, folder))]  # fmt: skip
        odd = {inner for path in photos for inner in _inner(path, folder) if is_not_of_good(inner.name)}
        if odd:
            names = ", ".join(sorted(self.name_of(path) for path in odd))
            raise DataError(
                f"Not all in {folder} seem to be good parts: {names}.",
                "Move them elsewhere, or name the folders of good parts: --good DIR, once for each.",
            )
        return photos

    def add_test_good(self, folder: Path) -> None:
        """Add good photos to test with."""
        photos = self.add_good(folder)
        self.masks.photo_folders.add(folder.name.lower())
        self.test += [TestPhoto(path, None, (folder.name, *path.parent.relative_to(folder).parts)) for path in photos]

    def add_defects(self, folder: Path, defect_type: str | None = None, *, without: Sequence[Path] = ()) -> None:
        """Add defective photos; without a type, the inner folders are the types. Finds the masks among them."""
        photos = self._photos(folder, keep_masks=True, without=without)
        odd = {inner for path in photos for inner in _inner(path, folder) if is_good_name(inner.name)}
        if odd:
            names = ", ".join(sorted(self.name_of(path) for path in odd))
            raise DataError(
                f"Folders of defects in {self.root} hold folders of good parts: {names}.",
                "Move them elsewhere, or name the folders: --good DIR --defect DIR.",
            )
        for path in photos:
            inner = path.parent.relative_to(folder).parts
            kind = defect_type or (inner[0] if inner else folder.name)
            outer = [part for part in _below(path.parent, self.root) if part.lower() not in TEST_NAMES]
            within = (*outer, folder.name, *inner, "test", kind)
            self.masks.photo_folders |= {name.lower() for name in within}
            self.masks.photo_stems.add(path.stem.lower())
            self.test.append(TestPhoto(path, kind, within))

    def extend(self, other: Layout) -> None:
        """Add the photos of another folder of the product: none of its good photos is held out."""
        held_out = set(other.shared)
        self.good += [path for path in other.shared or other.good if path not in set(self.good)]
        for photo in other.test:
            if photo.path not in held_out:
                masks = () if photo.mask or photo.defect_type is None else other.masks.of(photo.path, photo.folders)
                self.test.append(replace(photo, mask=masks[0]) if masks else photo)
        self.left_out += other.left_out

    def leave_out(self, folder: Path, count: int) -> None:
        """Note that the photos of a folder are not used."""
        if count:
            self.left_out.append(f"{count} photos in {self.name_of(folder)}")

    def name_of(self, path: Path) -> str:
        """Name of a file or folder as seen from the root."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def _photos(self, folder: Path, *, keep_masks: bool = False, without: Sequence[Path] = ()) -> list[Path]:
        if not folder.is_dir():
            raise DataError(f"No such folder: {folder}.", KNOWN_LAYOUTS)
        found = find_photos(folder, recursive=True)
        if words := found.left_out():
            self.left_out.append(f"{words} in {self.name_of(folder)}")
        photos, masks = split_masks([path for path in found.photos if not (without and is_within(path, without))])
        if masks and not keep_masks:
            self._refuse_marked(folder, masks)
            self.left_out.append(f"{len(masks)} masks beside photos in {self.name_of(folder)}")
        if not keep_masks:
            return list(photos)
        self.masks.folders.append(folder)
        for path in masks:
            self.masks.add(path, path.parent.relative_to(folder).parts)
        drawn = [path for path in photos if any(is_mask_folder(inner.name) for inner in _inner(path, folder))]
        for path in drawn:
            parts = [part for part in path.parent.relative_to(folder).parts if not is_mask_folder(part)]
            self.masks.add(path, parts)
        return [path for path in photos if path not in set(drawn)]

    def _refuse_marked(self, folder: Path, masks: Sequence[Path]) -> None:
        """Refuse photos of good parts that have masks of defects beside them."""
        if marked := [path for path in masks if not _marks_nothing(path)]:
            raise DataError(
                f"{len(marked)} masks in {folder} mark defects of photos that would count as good parts, such as "
                f"{self.name_of(marked[0])}.",
                "Move the defective photos elsewhere, or name the folders of good parts: --good DIR.",
            )


def common_root(folders: Folders) -> Path:
    """The common parent of the named folders.

    Raises:
        DataError: They are on different drives.
    """
    paths = [path.resolve() for path in (*folders.good, *folders.defects)]
    try:
        return Path(os.path.commonpath(paths))
    except ValueError as error:
        raise DataError("The named folders are on different drives.", "Put them into one folder.") from error


def is_within(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path lies in one of some folders, links followed."""
    real = path.resolve()
    return any(path.is_relative_to(other) or real.is_relative_to(other.resolve()) for other in folders)


def _marks_nothing(path: Path) -> bool:
    try:
        return not marked_pixels((path,))[0].any()
    except DataError:
        return False


def _inner(path: Path, folder: Path) -> list[Path]:
    """The folders between a folder and a file in it."""
    return [parent for parent in path.parents if parent != folder and parent.is_relative_to(folder)]


def _below(folder: Path, root: Path) -> tuple[str, ...]:
    return folder.relative_to(root).parts if folder.is_relative_to(root) else ()
