"""Which files of a folder are photos: one list for training, evaluation and streams."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES

__all__ = ["PhotoList", "find_photos", "is_photo_name", "is_system_name"]

# Files that systems, file servers and cloud disks write. A leading dot means the same.
_SYSTEM_NAMES = frozenset({"__macosx", "icon\r", "network trash folder", "temporary items"})
_SYSTEM_NAMES |= {"@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "__pycache__"}
_SYSTEM_NAMES |= {"$recycle.bin", "recycler", "system volume information", "lost+found", "lost.dir"}
_SYSTEM_NAMES |= {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"}
_SYSTEM_STARTS = (".", "~$", "thumbs.db:")
_SHOWN = 5


@dataclass(frozen=True)
class PhotoList:
    """The photos of a folder, and its other contents.

    Attributes:
        folder: The folder.
        photos: Sorted by path.
        other_files: Ending in lower case → number of files that are no photos; files of a system are not counted.
        folders: Folder inside that was not read → number of photos in it.
        broken_links: Links to nothing or in a circle, or to a folder that has been read already; no regular files.
    """

    folder: Path
    photos: tuple[Path, ...]
    other_files: Mapping[str, int] = field(default_factory=dict)
    folders: Mapping[Path, int] = field(default_factory=dict)
    broken_links: tuple[Path, ...] = ()

    def left_out(self) -> str:
        """What was left out, with counts and reasons, as the end of a line; empty where nothing was."""
        parts = [f"{count} of ending {ending}" for ending, count in sorted(self.other_files.items())]
        if photos := sum(self.folders.values()):
            names = [path.relative_to(self.folder).as_posix() for path, count in self.folders.items() if count]
            parts.append(f"{photos} photos in the folders inside it ({_some(names)})")
        if self.broken_links:
            parts.append(f"{len(self.broken_links)} links that lead nowhere or back")
        return ", ".join(parts)


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name was made by a system, not by a person."""
    lower = name.lower()
    return lower.startswith(_SYSTEM_STARTS) or lower in _SYSTEM_NAMES


def is_photo_name(name: str) -> bool:
    """Whether a file of this name is a photo: one of `IMAGE_SUFFIXES` in any case, and not a system's."""
    return not is_system_name(name) and Path(name).suffix.lower() in IMAGE_SUFFIXES


def find_photos(folder: Path, *, recursive: bool = False) -> PhotoList:
    """List the photos of a folder.

    Links are followed; a folder that can be reached in several ways is read once.

    Args:
        folder: The folder.
        recursive: Take those of the folders inside it too; otherwise they are counted.

    Raises:
        DataError: The folder, or one inside it, cannot be read.
    """
    photos: list[Path] = []
    others: Counter[str] = Counter()
    folders: dict[Path, int] = {}
    broken: list[Path] = []
    waiting, seen = [folder], {os.path.realpath(folder)}
    while waiting:
        for entry in _entries(waiting.pop(0)):
            path = Path(entry.path)
            is_folder, is_file = _kind(entry)
            if is_folder:
                if (real := os.path.realpath(path)) in seen:
                    broken.append(path)
                elif recursive:
                    waiting.append(path)
                    seen.add(real)
                else:
                    folders[path] = len(find_photos(path, recursive=True).photos)
            elif not is_file:
                broken.append(path)
            elif is_photo_name(entry.name):
                photos.append(path)
            else:
                others[path.suffix.lower() or "(none)"] += 1
    return PhotoList(folder, tuple(sorted(photos)), others, folders, tuple(broken))


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether an entry is a folder, and whether it is a file; neither for a link in a circle."""
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:
        return False, False


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, without what is a system's: the real ones before the links, each by name."""
    try:
        with os.scandir(folder) as entries:
            kept = [entry for entry in entries if not is_system_name(entry.name)]
    except OSError as error:
        raise DataError(
            f"The folder cannot be read ({error.strerror}): {folder}.", "Check the permissions of the folder."
        ) from error
    yield from sorted(kept, key=lambda entry: (entry.is_symlink(), entry.name))


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
