"""Recognise how a product's folder is arranged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_ad.data.layouts.layout import KNOWN_LAYOUTS, Folders, Layout, TestPhoto, is_within
from edge_ad.data.layouts.names import (
    DEFECT_NAMES,
    GOOD_NAMES,
    TEST_NAMES,
    TRAIN_NAMES,
    has_a_role,
    is_good_name,
    sounds_good,
)
from edge_ad.data.layouts.visa import read_visa_split, visa_split
from edge_ad.data.masks import is_mask_folder, looks_drawn, split_masks
from edge_ad.data.splits import hold_out
from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.photo_files import find_photos, is_photo_name, is_system_name

__all__ = ["folders_in_words", "read_layout"]

_SHOWN = 12
_LOOKED_AT = 3


def read_layout(root: Path, folders: Folders, part: str = "all") -> Layout:
    """Find out where the photos and masks of a product are. No photo is opened.

    Known layouts are MVTec's and its variants (``train/good``, ``test/<type>``, ``ground_truth/<type>``, with any name
    for good and for the folder of masks), VisA with its split file and without, a folder of good and one of defective
    parts, and a folder of photos of good parts.

    Args:
        root: The product's folder.
        folders: Folders that the user names; with good or defective ones among them, only these are used.
        part: ``"good"``, ``"test"`` or ``"all"``; folders that are not needed are not read.

    Raises:
        DataError: No such folder, or one that mixes good and defective parts.
    """
    if not root.is_dir():
        raise DataError(f"No such folder: {root}.", KNOWN_LAYOUTS)
    layout = Layout(root, part=part)
    if folders.masks is not None:
        if not folders.masks.is_dir():
            raise DataError(f"No such folder: {folders.masks}.", "Name the folder of the masks: --masks DIR.")
        layout.masks.add_folder(folders.masks)
    if folders.good or folders.defects:
        _read_named(layout, folders)
    elif (split := visa_split(root)) is not None:
        read_visa_split(layout, split)
    else:
        _read_known(layout)
    return layout


def folders_in_words(root: Path) -> str:
    """The folders of a product that hold photos, each with its count; empty where there is none."""
    counts: dict[str, int] = {}
    for path in find_photos(root, recursive=True).photos:
        name = path.parent.relative_to(root).as_posix()
        counts[name] = counts.get(name, 0) + 1
    words = [f"{name} ({count} photos)" for name, count in sorted(counts.items())]
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _read_named(layout: Layout, folders: Folders) -> None:
    masks = [folders.masks] if folders.masks else []
    if doubled := [path for path in folders.defects if path in folders.good]:
        raise DataError(f"{doubled[0]} is named as good and as defective.", "Name each folder once.")
    if inside := [path for path in folders.good if is_within(path, folders.defects)]:
        raise DataError(f"{inside[0]} lies in a folder of defective parts.", "Move it elsewhere, or name the others.")
    taken = [*folders.defects, *masks]
    good = [path for folder in folders.good for path in layout.add_good(folder, without=taken)]
    for folder in folders.defects:
        layout.add_defects(folder, without=masks)
        if folders.masks is None:
            _add_mask_folders(layout, folder.parent)
    if folders.masks is None and folders.defects:
        _add_mask_folders(layout, layout.root)
    _share(layout, list(dict.fromkeys(good)), has_defects=bool(folders.defects))


def _read_known(layout: Layout) -> None:
    root = layout.root
    children = _children(root)
    images = next((found for base in (root, *_named(children, {"data"}))
                   for found in _named(_children(base), {"images"}) if _has_both(found)), None)  # fmt: skip
    if _named(children, TRAIN_NAMES | TEST_NAMES) and not _has_photos(root):
        _read_train_and_test(layout, children)
    elif images is not None:
        _add_mask_folders(layout, images.parent)
        _read_good_and_defective(layout, images)
    elif _has_both(root) and not _has_photos(root):
        _add_mask_folders(layout, root)
        _read_good_and_defective(layout, root)
    elif _has_only_good(root):
        layout.good = [photo for path in _named(children, GOOD_NAMES) for photo in layout.add_good(path)]
    elif is_good_name(root.resolve().name):
        layout.good = layout.add_good(root)
    else:
        _read_flat(layout)


def _read_train_and_test(layout: Layout, children: Sequence[Path]) -> None:
    _add_mask_folders(layout, layout.root)
    for train in _named(children, TRAIN_NAMES) if layout.part != "test" else ():
        inner = _children(train)
        good = _named(inner, GOOD_NAMES)
        if not good and not any(find_photos(train).folders.values()):
            good = [train]
        for folder in good:
            layout.good += layout.add_good(folder)
        if train not in good:
            _leave_out_others(layout, train, good)
    for test in _named(children, TEST_NAMES) if layout.part != "good" else ():
        for folder in _children(test):
            if is_mask_folder(folder.name) and _holds_masks(folder):
                layout.masks.add_folder(folder)
        for folder in _children(test):
            if is_good_name(folder.name):
                layout.add_test_good(folder)
            elif not is_mask_folder(folder.name) or not _holds_masks(folder):
                _refuse_what_sounds_good(layout, folder)
                layout.add_defects(folder, folder.name)
        if count := len(find_photos(test).photos):
            layout.left_out.append(f"{count} photos in {layout.name_of(test)} that no folder says the type of")
    known = [path for path in children if path.name.lower() in TRAIN_NAMES | TEST_NAMES or is_mask_folder(path.name)]
    _leave_out_others(layout, layout.root, known)


def _refuse_what_sounds_good(layout: Layout, folder: Path) -> None:
    if sounds_good(folder.name) and find_photos(folder, recursive=True).photos:
        raise DataError(
            f"{layout.name_of(folder)} may hold good parts, and would count as a type of defect.",
            "Rename it: good where the parts are, or a name without that word; or name the folders: --good DIR "
            "--defect DIR.",
        )


def _read_good_and_defective(layout: Layout, folder: Path) -> None:
    children = _children(folder)
    good, defects = _named(children, GOOD_NAMES), _named(children, DEFECT_NAMES)
    for path in defects:
        layout.add_defects(path)
    _share(layout, [photo for path in good for photo in layout.add_good(path)], has_defects=True)
    masks = [path for path in children if is_mask_folder(path.name)]
    _leave_out_others(layout, folder, [*good, *defects, *masks])


def _read_flat(layout: Layout) -> None:
    root, found = layout.root, find_photos(layout.root)
    layout.good, masks = (list(paths) for paths in split_masks(found.photos))
    odd = [path for path, count in found.folders.items() if count and has_a_role(path.name)]
    if layout.good and odd:
        names = ", ".join(f"{path.name} ({found.folders[path]} photos)" for path in odd)
        raise DataError(
            f"{root} holds {len(layout.good)} photos, and folders that are not of good parts to train on: {names}.",
            "Move the good photos into a folder of their own and name them: --good DIR --defect DIR --masks DIR.",
        )
    if masks:
        layout.left_out.append(f"{len(masks)} masks beside photos")
    if layout.good and (words := found.left_out()):
        layout.left_out.append(words)


def _share(layout: Layout, good: list[Path], *, has_defects: bool) -> None:
    """Train on all good photos, or on all but a fifth where there are defects to test with."""
    layout.shared = tuple(good)
    layout.good, held_out = (list(paths) for paths in hold_out(good)) if has_defects else (good, [])
    layout.test = [TestPhoto(path, None) for path in held_out] + layout.test


def _add_mask_folders(layout: Layout, folder: Path) -> None:
    for path in _children(folder):
        if is_mask_folder(path.name) and path not in layout.masks.folders:
            layout.masks.add_folder(path)


def _leave_out_others(layout: Layout, folder: Path, used: Iterable[Path]) -> None:
    found = find_photos(folder)
    for path, count in found.folders.items():
        if path not in set(used):
            layout.leave_out(path, count)
    if folder != layout.root and folder.name.lower() not in TEST_NAMES:
        layout.leave_out(folder, len(found.photos))


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not is_system_name(path.name))
    except OSError as error:
        raise DataError(
            f"The folder cannot be read ({error.strerror}): {folder}.", "Check the permissions of the folder."
        ) from error


def _has_photos(folder: Path) -> bool:
    return any(is_photo_name(path.name) and path.is_file() for path in folder.iterdir())


def _named(folders: Iterable[Path], names: Iterable[str]) -> list[Path]:
    return [path for path in folders if path.name.lower() in set(names)]


def _has_both(folder: Path) -> bool:
    children = _children(folder)
    return bool(_named(children, GOOD_NAMES) and _named(children, DEFECT_NAMES))


def _has_only_good(folder: Path) -> bool:
    """Whether all photos of a folder lie right in folders of good parts in it: deeper ones are of several cameras."""
    found = find_photos(folder)
    filled = [path for path, count in found.folders.items() if count]
    if not filled or found.photos:
        return False
    return all(path.name.lower() in GOOD_NAMES and not any(find_photos(path).folders.values()) for path in filled)


def _holds_masks(folder: Path) -> bool:
    """Whether a folder named like one of masks holds masks: its first pictures look drawn, or are unreadable."""
    for path in find_photos(folder, recursive=True).photos[:_LOOKED_AT]:
        try:
            if not looks_drawn(read_image(path)):
                return False
        except DataError:
            continue
    return True
