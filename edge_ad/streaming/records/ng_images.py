"""Pictures of defective frames: lossless, written completely or not at all, the oldest removed by size and age."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections import deque
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError, UsageError
from edge_ad.masked_address import masked_address
from edge_ad.storage import storage_errors
from edge_ad.streaming.frame import Frame

__all__ = ["NgImageStore", "ng_image_name", "source_word"]

_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_HOUR = "%Y-%m-%d/%H"
_PARTIAL = ".partial"
_LONGEST_SOURCE, _LONGEST_STEM = 40, 100  # file systems take names of 255 bytes
_CHECK_AGE_S = 60.0


def ng_image_name(frame: Frame, source_name: str = "") -> str:
    """Path of the picture of a frame inside the folder; sorting by name sorts by time of capture.

    Args:
        frame: The frame.
        source_name: Name of the source, for frames that do not say it.

    Returns:
        ``YYYY-MM-DD/HH/HHMMSS.microseconds_source_frame.png``, in UTC; of a frame that comes from a file
        ``…_source_frame_file-0123abcd.png``. The number tells apart files, and sources, whose names would
        look the same.
    """
    captured = datetime.fromtimestamp(frame.captured_unix, timezone.utc)
    parts = [f"{captured:%H%M%S.%f}", source_word(frame.source or source_name), str(frame.index)]
    if frame.path:
        parts.append(f"{_word(Path(frame.path).stem)[:_LONGEST_STEM]}-{_number(frame.path)}".strip("-."))
    return f"{captured.strftime(_HOUR)}/{'_'.join(parts)}.png"


def source_word(name: str) -> str:
    """A source's name as part of a file name: unchanged where that is possible, otherwise with a number."""
    name = masked_address(name) if "://" in name else name
    word = _word(name)[-_LONGEST_SOURCE:].strip("-.")
    return word if word == name else f"{word}-{_number(name)}".strip("-.")


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")


def _number(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


class NgImageStore:
    """A folder with a folder for every hour in it.

    Age is counted from a clock that is read once, at the start: setting the clock while the stream runs removes
    nothing.

    Args:
        root: The folder; made when the first picture comes.
        keep_days: Remove pictures older than this; None for no limit.
        keep_bytes: Remove the oldest when the total is larger; None for no limit.
        durable: Whether `write` flushes a picture to the disk before it returns.

    Raises:
        UsageError: A limit is not positive, or the folder is a file.
    """

    def __init__(
        self, root: Path, *, keep_days: float | None = None, keep_bytes: int | None = None, durable: bool = False
    ) -> None:
        if root.exists() and not root.is_dir():
            raise UsageError(f"{root} is a file, not a folder.", "Give a folder for the pictures.")
        for name, limit in (("days", keep_days), ("bytes", keep_bytes)):
            if limit is not None and not limit > 0:
                raise UsageError(f"Pictures cannot be kept for {limit:g} {name}.", "Give a limit above 0, or none.")
        self._root, self._keep_days, self._keep_bytes, self._durable = root, keep_days, keep_bytes, durable
        self._clock_offset = time.time() - time.monotonic()
        self._hours: dict[str, int] = {}  # hour → bytes in it
        self._oldest: deque[tuple[str, int]] = deque()  # what is left of the hour that is being removed
        self._oldest_hour = ""
        self._next_age_check = 0.0

    @property
    def total_bytes(self) -> int:
        """Size of all pictures together."""
        return sum(self._hours.values())

    def scan(self) -> None:
        """Count what earlier streams left, and remove what a killed one left unfinished."""
        with storage_errors(self._root):
            self._hours = {}
            for hour in sorted(self._root.glob("[0-9]*-[0-9]*-[0-9]*/[0-9][0-9]")):
                for leftover in hour.glob(f".*{_PARTIAL}"):
                    leftover.unlink(missing_ok=True)
                self._hours[hour.relative_to(self._root).as_posix()] = sum(size for _, size in _pictures(hour))
            self.enforce()

    def write(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write a picture and remove what is over the limits.

        Args:
            name: Inside the folder, as `ng_image_name` gives it.
            image: uint8 (H, W, 3), BGR.

        Raises:
            StorageError: No space or no permission; nothing is left behind.
        """
        is_encoded, encoded = cv2.imencode(".png", image, _FAST_PNG)
        path = self._root / name
        if not is_encoded:
            raise StorageError(f"{path} could not be written: the frame cannot be encoded as PNG.")
        content = encoded.tobytes()
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(path, content)
        hour = name.rpartition("/")[0]
        self._hours[hour] = self._hours.get(hour, 0) + len(content)
        self.enforce()

    def enforce(self) -> None:
        """Remove the oldest pictures until both limits are kept; called by `write`."""
        self._remove_old()
        while self._keep_bytes is not None and self.total_bytes > self._keep_bytes and self._remove_oldest():
            pass

    def _replace(self, path: Path, content: bytes) -> None:
        partial = path.with_name(f".{path.name}{_PARTIAL}")
        try:
            with partial.open("wb") as file:
                file.write(content)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise

    def _remove_old(self) -> None:
        now = time.monotonic()
        if self._keep_days is None or now < self._next_age_check:
            return
        self._next_age_check = now + _CHECK_AGE_S
        cutoff = datetime.fromtimestamp(max(0.0, now + self._clock_offset - self._keep_days * 86400), timezone.utc)
        oldest_kept = f"{cutoff.strftime(_HOUR)}/{cutoff:%H%M%S.%f}"
        while (name := self._peek_oldest()) is not None and name < oldest_kept:
            self._remove_oldest()

    def _peek_oldest(self) -> str | None:
        """Name of the oldest picture; None when there is none."""
        while self._hours:
            hour = min(self._hours)
            if hour != self._oldest_hour or not self._oldest:
                self._oldest_hour = hour
                self._oldest = deque((f"{hour}/{name}", size) for name, size in _pictures(self._root / hour))
            if self._oldest:
                return self._oldest[0][0]
            del self._hours[hour]
            for folder in (self._root / hour, (self._root / hour).parent):
                with suppress(OSError):  # something else is in it
                    folder.rmdir()
        return None

    def _remove_oldest(self) -> bool:
        if self._peek_oldest() is None:
            return False
        name, size = self._oldest.popleft()
        with suppress(OSError):
            (self._root / name).unlink()
        hour = name.rpartition("/")[0]
        self._hours[hour] = max(0, self._hours[hour] - size)
        if not self._oldest:
            self._peek_oldest()  # leave no empty folder behind
        return True


def _pictures(hour: Path) -> list[tuple[str, int]]:
    """Name and bytes of every picture of an hour, oldest first."""
    try:
        with os.scandir(hour) as entries:
            found = [(entry.name, entry.stat().st_size) for entry in entries if entry.name.endswith(".png")]
    except FileNotFoundError:
        return []
    return sorted(found)
