"""Folders of photos: existing ones, and watched ones that fill up."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import IMAGE_SUFFIXES, read_image
from edge_ad.outside_text import storable
from edge_ad.photo_files import PhotoList, find_photos, is_photo_name, is_system_name
from edge_ad.streaming.sources.base import Pacer, Source, file_path

__all__ = ["ImageFolderSource", "WatchedFolderSource"]

_POLL_S = 0.05
_SETTLED_S = 0.2  # a file whose size and time stay the same for this long is complete
_GIVEN_UP_S = 5.0  # a damaged file that has not grown for this long stays damaged
_LARGEST_SHARE = 0.05  # share of a core for scanning a folder with very many files
_DONE, _BAD = "done", "bad"

_Version = tuple[int, int, int]  # time of change in ns, size in bytes, inode: a rewritten file counts as new


class ImageFolderSource(Source):
    """Every image of a folder (not of the folders inside it), or one image file.

    One that cannot be decoded is counted in ``corrupt`` and named in ``corrupt_names`` and ``notes``; so is, once, what
    of the folder is left out.

    Args:
        path: The folder or file.
        loop: Start again after the last, with what is in the folder then.
        fps: Images per second; None gives them as fast as they are read.
    """

    def __init__(self, path: Path, *, loop: bool = False, fps: float | None = None) -> None:
        super().__init__(str(path), is_live=False)
        self._path, self._loop, self._fps = path, loop, fps
        self._pacer = None if fps is None else Pacer(1 / fps)
        self._remaining: Iterator[Path] = iter(())
        self._significant_bits: int | None = None
        self._left_out = ""
        self._problem: DataError | None = None  # of an image, while none of this round could be decoded
        self._is_any_readable = False
        self._cancelled = threading.Event()

    @property
    def fps(self) -> float | None:
        """The requested images per second."""
        return self._fps

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Read the images with this depth; one of another depth is not judged."""
        self._significant_bits = significant_bits

    def open(self) -> None:
        """List the folder."""
        found = PhotoList(self._path, (self._path,)) if self._path.is_file() else _images(self._path)
        left_out = found.left_out()
        if not found.photos:
            also = f" (left out: {left_out})" if left_out else ""
            raise DataError(f"There is no image in {self._path}{also}.", f"Known endings: {', '.join(IMAGE_SUFFIXES)}.")
        if left_out not in ("", self._left_out):
            self.notes.append(f"Left out of {self._path}: {left_out}.")
        self._left_out = left_out
        self._remaining = iter(found.photos)
        self._is_any_readable = False

    def read(self) -> NDArray[np.uint8] | None:
        """The next image that can be decoded; None after the last, or when cancelled.

        Raises:
            DataError: Not one image of the folder can be decoded.
        """
        if self._pacer is not None:
            self._pacer.wait(self._cancelled)
        while not self._cancelled.is_set():
            if (path := self._next()) is None:
                return None
            try:
                image = read_image(path, self._significant_bits)
            except DataError as error:
                self._count_corrupt(path, error)
            else:
                self._is_any_readable = True
                self.path = file_path(path)
                return image
        return None

    def _next(self) -> Path | None:
        path = next(self._remaining, None)
        if path is not None:
            return path
        if self._problem is not None and not self._is_any_readable:
            raise self._problem
        if not self._loop:
            return None
        self.open()
        return next(self._remaining)

    def _count_corrupt(self, path: Path, error: DataError) -> None:
        self.corrupt_names.append(storable(path.name))
        self.corrupt += 1
        self.notes.append(error.message)
        self._problem = error

    def close(self) -> None:
        """Nothing is held open."""
        self._remaining = iter(())

    def cancel(self) -> None:
        """End the wait for an image that is due later."""
        self._cancelled.set()


def _images(folder: Path) -> PhotoList:
    if not folder.exists():
        raise DataError(f"No such file or folder: {folder}.", "Give a folder of images, an image or a video.")
    return find_photos(folder)


@dataclass(frozen=True)
class _File:
    path: Path
    version: _Version

    @property
    def written_at(self) -> float:
        return self.version[0] / 1e9


class WatchedFolderSource(Source):
    """Images of a folder as they arrive, oldest first, beginning with those that are there.

    An image is read when its file has stopped changing and is whole; never twice, unless it is written again. One that
    cannot be decoded is counted in ``corrupt`` and named in ``corrupt_names`` and ``notes``. One that is deleted before
    its turn is skipped.

    Args:
        path: The folder.
        move: Move an image to the folder ``done`` inside it once the next one is asked for, and one that cannot be
            decoded to ``bad``; otherwise all stay where they are.
    """

    def __init__(self, path: Path, *, move: bool = False) -> None:
        super().__init__(str(path), is_live=False)
        self._folder, self._move = path, move
        self._seen: dict[Path, _Version] = {}
        self._changing: dict[Path, tuple[_Version, float]] = {}  # → since when it has this version
        self._ready: deque[_File] = deque()
        self._to_move: Path | None = None
        self._is_readable = True
        self._significant_bits: int | None = None
        self._told_endings: set[str] = set()
        self._cancelled = threading.Event()

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Read the images with this depth; one of another depth is not judged."""
        self._significant_bits = significant_bits

    def open(self) -> None:
        """Check the folder, and that images can be moved in it."""
        if not self._folder.is_dir():
            raise DataError(f"There is no folder {self._folder} to watch.", f"Make it: mkdir -p {self._folder}")
        for name in (_DONE, _BAD) if self._move else ():
            try:
                (self._folder / name).mkdir(exist_ok=True)
            except OSError as error:
                raise DataError(
                    f"Images of {self._folder} cannot be moved to {name} ({error.strerror}).", "Use --after leave."
                ) from error

    def read(self) -> NDArray[np.uint8] | None:
        """The next image, waiting for it; None when cancelled."""
        self._finish(_DONE)
        while not self._cancelled.is_set():
            while self._ready:
                file = self._ready.popleft()
                if (image := self._read(file)) is not None:
                    self.path = file_path(file.path)
                    return image
            started = time.perf_counter()
            self._ready.extend(sorted(self._settled(), key=lambda file: (file.version[0], file.path.name)))
            if not self._ready:
                self._cancelled.wait(max(_POLL_S, (time.perf_counter() - started) / _LARGEST_SHARE))
        return None

    def close(self) -> None:
        """Finish with the last image."""
        self._finish(_DONE)

    def cancel(self) -> None:
        """End the wait for an image."""
        self._cancelled.set()

    def _settled(self) -> list[_File]:
        """Files that have not been read and have stopped changing."""
        files = list(self._files())
        here = {file.path for file in files}
        # Forget deleted files, so that months of files do not fill the memory.
        self._seen = {path: version for path, version in self._seen.items() if path in here}
        self._changing = {path: state for path, state in self._changing.items() if path in here}
        return [file for file in files if self._seen.get(file.path) != file.version and self._has_settled(file)]

    def _has_settled(self, file: _File) -> bool:
        version, since = self._changing.get(file.path, (None, 0.0))
        if version != file.version:
            since = time.perf_counter()
            self._changing[file.path] = (file.version, since)
        return self._unchanged_s(file) >= _SETTLED_S

    def _unchanged_s(self, file: _File) -> float:
        """How long it has been unchanged, as seen here or by its own time."""
        return max(time.perf_counter() - self._changing[file.path][1], time.time() - file.written_at)

    def _files(self) -> Iterator[_File]:
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if not is_photo_name(entry.name):
                        self._tell_ending(entry)
                    elif (version := _version(entry)) is not None:
                        yield _File(Path(entry.path), version)
            self._is_readable = True
        except OSError as error:  # unmounted or deleted: it may return
            if self._is_readable:
                self.notes.append(f"The folder {self._folder} cannot be read ({error.strerror}); waiting for it.")
            self._is_readable = False

    def _tell_ending(self, entry: os.DirEntry[str]) -> None:
        """Note, once for each ending, that files of it are not read."""
        ending = Path(entry.name).suffix.lower()
        if ending in self._told_endings or is_system_name(entry.name) or not entry.is_file():
            return
        self._told_endings.add(ending)
        self.notes.append(f"Files such as {entry.name} in {self._folder} are not read: their ending is no photo's.")

    def _read(self, file: _File) -> NDArray[np.uint8] | None:
        problem, image = "", None
        try:
            image = read_image(file.path, self._significant_bits)
        except DataError as error:
            problem = error.message
        if _version(file.path) != file.version:
            return None  # deleted, or written to while it was read
        if image is None and self._unchanged_s(file) < _GIVEN_UP_S:
            self._cancelled.wait(_POLL_S)  # it may still become complete
            return None
        self._seen[file.path] = file.version
        del self._changing[file.path]
        self._to_move = file.path
        if image is None:
            self.corrupt_names.append(storable(file.path.name))
            self.corrupt += 1
            self.notes.append(problem)
            self._finish(_BAD)
        return image

    def _finish(self, folder: str) -> None:
        path, self._to_move = self._to_move, None
        if path is None or not self._move or self._seen.get(path) != _version(path):
            return
        try:
            path.rename(_free_name(self._folder / folder / path.name))
        except OSError as error:
            self.notes.append(f"{path} cannot be moved to {folder} ({error.strerror}); it stays and is not read again.")


def _version(file: os.DirEntry[str] | Path) -> _Version | None:
    try:
        status = file.stat()
    except OSError:
        return None
    is_file = file.is_file()
    return (status.st_mtime_ns, status.st_size, status.st_ino) if is_file else None


def _free_name(path: Path) -> Path:
    """The name, with a number where an image of that name is there already."""
    number, free = 1, path
    while free.exists():
        free = path.with_stem(f"{path.stem}.{number}")
        number += 1
    return free
