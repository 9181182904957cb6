"""How folders of products are arranged: where the good photos, the test photos and the masks are."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_ad.data.masks import MaskIndex, is_mask_folder, looks_drawn, marked_pixels, split_masks
from edge_ad.data.splits import hold_out
from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.photo_files import find_photos, is_photo_name, is_system_name

__all__ = [
    "KNOWN_LAYOUTS",
    "Folders",
    "Layout",
    "TestPhoto",
    "common_root",
    "folders_in_words",
    "is_good_name",
    "read_layout",
]

_GOOD_NAMES = frozenset(
    {"good", "goods", "ok", "okay", "io", "i.o", "i.o.", "gut", "normal", "pass", "passed", "clean"}
)
_GOOD_NAMES |= {"defect_free", "defect-free", "defectfree", "no_defect", "no-defect", "no_defects", "non_defective"}
_GOOD_NAMES |= {"non-defective", "nondefective", "good_parts", "good-parts", "ok_parts", "flawless"}
_GOOD_WORDS = frozenset({"good", "goods", "ok", "okay", "io", "gut", "normal", "pass", "passed", "clean", "flawless"})
_NEGATIONS = frozenset({"not", "no", "non", "un", "n"})
_DEFECT_NAMES = frozenset({"ng", "ko", "nok", "not_ok", "notok", "not_good", "bad", "faulty"})
_DEFECT_NAMES |= {"defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "abnormal"}
_DEFECT_NAMES |= {"fail", "failed", "reject", "rejected"}
_TRAIN_NAMES, _TEST_NAMES = frozenset({"train", "training"}), frozenset({"test", "testing", "test_public"})
_VISA_SPLIT = Path("split_csv", "1cls.csv")
_SHOWN = 12
_LOOKED_AT = 3

KNOWN_LAYOUTS = (
    "Give a folder of photos of good parts, or one with train/good (and test/<type>, ground_truth/<type>), "
    "or name the folders: --good DIR --defect DIR --masks DIR."
)


@dataclass(frozen=True)
class Folders:
    """Folders that the user names, because the product's folder does not tell.

    Attributes:
        good: Photos of good parts, with those in all folders inside.
        defects: Photos of defective parts, likewise; a folder inside is a type of defect.
        masks: Masks of the defects; None looks beside the photos.
    """

    good: tuple[Path, ...] = ()
    defects: tuple[Path, ...] = ()
    masks: Path | None = None

    def resolved(self) -> Folders:
        """The same folders by their absolute paths."""
        good, defects = (tuple(path.resolve() for path in paths) for paths in (self.good, self.defects))
        return Folders(good, defects, None if self.masks is None else self.masks.resolve())


@dataclass(frozen=True)
class TestPhoto:
    """A photo to test with.

    Attributes:
        path: The file.
        defect_type: Its type; None for a good part.
        folders: Names of the folders it lies in, as far as its mask's may be named so.
        mask: Its mask, where a list says which.
    """

    __test__ = False  # no test, though pytest reads the name so

    path: Path
    defect_type: str | None
    folders: tuple[str, ...] = ()
    mask: Path | None = None


@dataclass
class Layout:
    """What is where in a product's folder.

    Attributes:
        root: The folder.
        good: Photos to train on.
        test: Photos to test with.
        masks: Where masks are.
        shared: All good photos, where the layout does not say which are to be trained on and which tested with.
        left_out: What is not used, in words.
        part: What is needed: ``"good"`` to train on, ``"test"`` or ``"all"``; the other is not looked at.
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
        """Photos of good parts in a folder and those inside; one that is called a defect's or a mask's is refused."""
        photos = [path for path in self._photos(folder) if not _is_within(path, without)]
        photos = [path for path in photos if not any(is_mask_folder(inner.name) and _marks_nothing(path)
                                                     for inner in _inner(path, folder))]  # fmt: skip
        odd = {inner for path in photos for inner in _inner(path, folder) if _is_not_of_good(inner.name)}
        if odd:
            names = ", ".join(sorted(self.name_of(path) for path in odd))
            raise DataError(
                f"Not all in {folder} seem to be good parts: {names}.",
                "Move them elsewhere, or name the folders of good parts: --good DIR, once for each.",
            )
        return photos

    def add_test_good(self, folder: Path) -> None:
        """Good photos to test with."""
        photos = self.add_good(folder)
        self.masks.photo_folders.add(folder.name.lower())
        self.test += [TestPhoto(path, None, (folder.name, *path.parent.relative_to(folder).parts)) for path in photos]

    def add_defects(self, folder: Path, defect_type: str | None = None, *, without: Sequence[Path] = ()) -> None:
        """Defective photos; without a type, the folders inside are the types. Masks among them are told apart."""
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
            outer = [part for part in _below(path.parent, self.root) if part.lower() not in _TEST_NAMES]
            within = (*outer, folder.name, *inner, "test", kind)
            self.masks.photo_folders |= {name.lower() for name in within}
            self.masks.photo_stems.add(path.stem.lower())
            self.test.append(TestPhoto(path, kind, within))

    def leave_out(self, folder: Path, count: int) -> None:
        """Say that the photos of a folder are not used."""
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
        photos, masks = split_masks([path for path in found.photos if not (without and _is_within(path, without))])
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
        """Refuse photos of good parts beside which lie masks of defects."""
        if marked := [path for path in masks if not _marks_nothing(path)]:
            raise DataError(
                f"{len(marked)} masks in {folder} mark defects of photos that would count as good parts, such as "
                f"{self.name_of(marked[0])}.",
                "Move the defective photos elsewhere, or name the folders of good parts: --good DIR.",
            )


def is_good_name(name: str) -> bool:
    """Whether a folder of this name holds good parts."""
    return name.lower().strip() in _GOOD_NAMES


def _sounds_good(name: str) -> bool:
    """Whether a folder of this name may hold good parts: it begins or ends with a word for them."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    return bool(words) and not _NEGATIONS & set(words) and bool({words[0], words[-1]} & _GOOD_WORDS)


def read_layout(root: Path, folders: Folders, part: str = "all") -> Layout:
    """Find out where the photos and masks of a product are. No photo is opened.

    Known are MVTec and its kin (``train/good``, ``test/<type>``, ``ground_truth/<type>``, with any name for good and
    for the folder of masks), VisA with its split file and without, a folder of good and one of defective parts, and a
    folder of photos of good parts.

    Args:
        root: The product's folder.
        folders: Folders that the user names; with good or defective ones among them, only these are used.
        part: ``"good"``, ``"test"`` or ``"all"``: a folder that is not needed is not looked into.

    Raises:
        DataError: No such folder, or one that holds both what is good and what is not.
    """
    if not root.is_dir():
        raise DataError(f"No such folder: {root}.", KNOWN_LAYOUTS)
    layout = Layout(root, part=part)
    if folders.masks is not None:
        if not folders.masks.is_dir():
            raise DataError(f"No such folder: {folders.masks}.", "Give --masks the folder that the masks are in.")
        layout.masks.add_folder(folders.masks)
    if folders.good or folders.defects:
        _read_named(layout, folders)
    elif (split := _visa_split(root)) is not None:
        _read_visa_split(layout, split)
    else:
        _read_known(layout)
    return layout


def folders_in_words(root: Path) -> str:
    """The folders of a product that hold photos, each with their number; empty where there is none."""
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
    if inside := [path for path in folders.good if _is_within(path, folders.defects)]:
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
    if _named(children, _TRAIN_NAMES | _TEST_NAMES) and not _has_photos(root):
        _read_train_and_test(layout, children)
    elif images is not None:
        _add_mask_folders(layout, images.parent)
        _read_good_and_defective(layout, images)
    elif _has_both(root) and not _has_photos(root):
        _add_mask_folders(layout, root)
        _read_good_and_defective(layout, root)
    elif is_good_name(root.resolve().name):
        layout.good = layout.add_good(root)
    else:
        _read_flat(layout)


def _read_train_and_test(layout: Layout, children: Sequence[Path]) -> None:
    _add_mask_folders(layout, layout.root)
    for train in _named(children, _TRAIN_NAMES) if layout.part != "test" else ():
        inner = _children(train)
        good = _named(inner, _GOOD_NAMES)
        if not good and not any(find_photos(train).folders.values()):
            good = [train]
        for folder in good:
            layout.good += layout.add_good(folder)
        if train not in good:
            _leave_out_others(layout, train, good)
    for test in _named(children, _TEST_NAMES) if layout.part != "good" else ():
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
    known = [path for path in children if path.name.lower() in _TRAIN_NAMES | _TEST_NAMES or is_mask_folder(path.name)]
    _leave_out_others(layout, layout.root, known)


def _refuse_what_sounds_good(layout: Layout, folder: Path) -> None:
    if _sounds_good(folder.name) and find_photos(folder, recursive=True).photos:
        raise DataError(
            f"{layout.name_of(folder)} may hold good parts, and would count as a type of defect.",
            "Rename it: good where the parts are, or a name without that word; or name the folders: --good DIR "
            "--defect DIR.",
        )


def _read_good_and_defective(layout: Layout, folder: Path) -> None:
    children = _children(folder)
    good, defects = _named(children, _GOOD_NAMES), _named(children, _DEFECT_NAMES)
    for path in defects:
        layout.add_defects(path)
    _share(layout, [photo for path in good for photo in layout.add_good(path)], has_defects=True)
    masks = [path for path in children if is_mask_folder(path.name)]
    _leave_out_others(layout, folder, [*good, *defects, *masks])


def _read_flat(layout: Layout) -> None:
    root, found = layout.root, find_photos(layout.root)
    layout.good, masks = (list(paths) for paths in split_masks(found.photos))
    odd = [path for path, count in found.folders.items() if count and _has_a_role(path.name)]
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


def _visa_split(root: Path) -> Path | None:
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


def _read_visa_split(layout: Layout, split: Path) -> None:
    for row in _visa_rows(split, layout.root):
        part, label, image, mask = ((row.get(key) or "").strip() for key in ("split", "label", "image", "mask"))
        if part not in ("train", "test") or not label or not image:
            raise DataError(f"{split} does not say part, label and image of {image!r}.", "Copy the split again.")
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


def _share(layout: Layout, good: list[Path], *, has_defects: bool) -> None:
    """Train on the good photos but a fifth, where there are defects to test with; otherwise on all."""
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
    if folder != layout.root and folder.name.lower() not in _TEST_NAMES:
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
    return bool(_named(children, _GOOD_NAMES) and _named(children, _DEFECT_NAMES))


def _has_a_role(name: str) -> bool:
    return _is_not_of_good(name) or is_good_name(name) or name.lower() in _TRAIN_NAMES | _TEST_NAMES


def _is_not_of_good(name: str) -> bool:
    return name.lower() in _DEFECT_NAMES or is_mask_folder(name)


def _is_within(path: Path, folders: Iterable[Path]) -> bool:
    real = path.resolve()
    return any(path.is_relative_to(other) or real.is_relative_to(other.resolve()) for other in folders)


def _holds_masks(folder: Path) -> bool:
    """Whether a folder that is named so does hold masks: its first pictures look drawn, or cannot be read."""
    for path in find_photos(folder, recursive=True).photos[:_LOOKED_AT]:
        try:
            if not looks_drawn(read_image(path)):
                return False
        except DataError:
            continue
    return True


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


def common_root(folders: Folders) -> Path:
    """The folder that all named ones lie in.

    Raises:
        DataError: They lie on several drives.
    """
    paths = [path.resolve() for path in (*folders.good, *folders.defects)]
    try:
        return Path(os.path.commonpath(paths))
    except ValueError as error:
        raise DataError("The named folders lie on several drives.", "Put them into one folder.") from error
