"""Saves frames as training photos: as often as asked, none twice, none over another file; says which are odd."""

from __future__ import annotations

import os
import secrets
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError, UsageError
from edge_ad.photo_spec import resize
from edge_ad.scene import SceneLimits, SceneMeasures, SceneReading, changes_in_words, measure_scene
from edge_ad.storage import storage_errors
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.records.ng_images import source_word
from edge_ad.streaming.verdicts.observers import CoolDownRule

__all__ = ["NEAR_EQUAL", "PhotoRecorder", "SavedPhoto", "are_near_equal", "photo_name"]

NEAR_EQUAL = "near-equal"
"""Reason for a frame that is not saved: nothing on it differs from a photo that was saved just before."""

_OTHER_SIZE, _NOT_DUE = "another size", "not due"
_LOOK_HW = (256, 256)  # at which frames are measured and compared: about what networks see
_BOX = (5, 5)  # averages the noise of a sensor away, and no defect of five pixels
_NEAR_LEVELS = 10.0  # grey levels: H.264 takes a still scene up to 8 from one frame to another, noise of 3 up to 4
_COARSE_HW = (16, 16)  # a difference that is seen here already needs no closer look
_COMPARED = 64  # newest photos that a frame is compared with
_TOO_DARK, _TOO_BRIGHT = 25.0, 230.0  # mean grey levels
_LEAST_OTHERS = 8
_UNLIKE = {"brightness": (0.7, 1.4), "sharpness": (0.5, 3.0)}  # of the median of the photos before
_FAST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_MOST_SHOWN, _MOST_ODD = 120, 60
_THUMB_WIDTH = 200


@dataclass(frozen=True)
class SavedPhoto:
    """One photo that was saved.

    Attributes:
        path: The file.
        picture: uint8 (h, w, 3), BGR, small; None for a photo that is not shown on the contact sheet.
        remark: What is odd about it, in words; empty for nothing.
    """

    path: Path
    picture: NDArray[np.uint8] | None
    remark: str


class PhotoRecorder:
    """Saves the frames that are due.

    Args:
        folder: Where to; made when the first photo comes. Files that are there stay.
        every: Least time or frames from one photo of a source to its next; the first is always due.
        jpeg_quality: 1 to 100 for JPEG; None for PNG, which loses nothing.
        drops_near_equal: Whether frames that equal one of the newest photos are left out.
        limits: How photos of the same product looked; None compares with the photos before.
        as_seen: uint8 (h, w, 3) BGR → the picture that ``limits`` are of, the input of a network; None measures at 256
            by 256.

    Attributes:
        count: Photos saved.
        not_saved: Reason → frames that came here and were not saved.
        odd: What is odd → photos that were saved nevertheless.

    Raises:
        UsageError: A quality outside 1 to 100, or the folder is a file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: CoolDownRule | None = None,
        jpeg_quality: int | None = None,
        drops_near_equal: bool = True,
        limits: SceneLimits | None = None,
        as_seen: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file, not a folder.", "Give a folder for the photos.")
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
            raise UsageError(f"JPEG has no quality {jpeg_quality}.", "Give 1 to 100, or leave it out for PNG.")
        self._folder, self._every, self._limits = folder, every or CoolDownRule(), limits
        self._as_seen = as_seen
        self._jpeg_quality, self._drops_near_equal = jpeg_quality, drops_near_equal
        self.count = 0
        self.not_saved: Counter[str] = Counter()
        self.odd: Counter[str] = Counter()
        self._size_hw: dict[int, tuple[int, int]] = {}  # of the first photo of each source
        self._last: dict[int, tuple[float, int]] = {}  # source → time and number of its newest photo
        self._compared = _Newest()
        self._brightness: deque[float] = deque(maxlen=_COMPARED)
        self._sharpness: deque[float] = deque(maxlen=_COMPARED)
        self._shown: list[SavedPhoto] = []
        self._shown_every = 1
        self._odd: list[SavedPhoto] = []

    def take(self, frame: Frame) -> SavedPhoto | None:
        """Save a frame, if it is to be saved.

        Returns:
            The photo; None for a frame that was not saved, whose reason is counted.

        Raises:
            StorageError: No space or no permission; nothing of it is left behind, and what was saved stays.
        """
        if reason := self._early_reason(frame):
            self.not_saved[reason] += 1
            return None
        look = resize(frame.image, _LOOK_HW)
        blurred = _blurred(look)
        if self._drops_near_equal and self._compared.holds(blurred):
            self.not_saved[NEAR_EQUAL] += 1
            return None
        measures = measure_scene(look if self._as_seen is None else self._as_seen(frame.image))
        remark = self._remark(measures)
        path = self._write(frame)
        self.count += 1
        self._size_hw.setdefault(frame.source_index, frame.image.shape[:2])
        self._last[frame.source_index] = frame.captured_at, frame.index
        self._compared.add(blurred)
        self._brightness.append(measures.brightness)
        self._sharpness.append(measures.sharpness)
        return self._keep(SavedPhoto(path, _thumbnail(frame.image), remark))

    def for_sheet(self) -> list[SavedPhoto]:
        """The photos to show: an even choice of all, and those that are odd, by their names."""
        chosen = {photo.path: photo for photo in (*self._shown, *self._odd)}
        return [chosen[path] for path in sorted(chosen)]

    def _early_reason(self, frame: Frame) -> str:
        """Why a frame is not saved, whatever it shows; empty where nothing speaks against it."""
        if frame.image.shape[:2] != self._size_hw.get(frame.source_index, frame.image.shape[:2]):
            return _OTHER_SIZE
        if frame.source_index in self._last:
            at, number = self._last[frame.source_index]
            if frame.captured_at - at < self._every.seconds or frame.index - number < self._every.frames:
                return _NOT_DUE
        return ""

    def _remark(self, measures: SceneMeasures) -> str:
        """What is odd about a picture, in words."""
        if measures.brightness < _TOO_DARK:
            return "too dark"
        if measures.brightness > _TOO_BRIGHT:
            return "too bright"
        if self._limits is not None:
            reading = SceneReading(measures, self._limits)
            return changes_in_words(reading, reading.changed())
        if self.count < _LEAST_OTHERS:
            return ""
        middles = {"brightness": self._brightness, "sharpness": self._sharpness}
        ratios = {name: getattr(measures, name) / max(float(np.median(seen)), 1e-6) for name, seen in middles.items()}
        words = {"brightness": ("darker", "brighter"), "sharpness": ("less sharp", "sharper")}
        odd = [(name, ratio) for name, ratio in ratios.items() if not _UNLIKE[name][0] <= ratio <= _UNLIKE[name][1]]
        return ", ".join(f"{words[name][int(ratio > 1)]} than the others" for name, ratio in odd)

    def _keep(self, photo: SavedPhoto) -> SavedPhoto:
        if photo.remark:
            self.odd.update(_kinds(photo.remark))
            if len(self._odd) < _MOST_ODD:
                self._odd.append(photo)
        if (self.count - 1) % self._shown_every == 0:
            self._shown.append(photo)
        if len(self._shown) > _MOST_SHOWN:  # every second one goes: the choice stays even, and the memory bounded
            self._shown, self._shown_every = self._shown[::2], 2 * self._shown_every
        return photo

    def _write(self, frame: Frame) -> Path:
        if self._jpeg_quality is None:
            suffix, settings = ".png", _FAST_PNG
        else:
            suffix, settings = ".jpg", (cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality)
        is_encoded, encoded = cv2.imencode(suffix, frame.image, settings)
        path = self._folder / f"{photo_name(frame)}{suffix}"
        if not is_encoded:
            raise StorageError(f"{path} could not be written: the frame cannot be made {suffix[1:].upper()}.")
        with storage_errors(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            return _write_new(path, encoded.tobytes())


def photo_name(frame: Frame) -> str:
    """Name of a frame's photo without its ending: sorted by name is sorted by time of capture, in UTC."""
    captured = datetime.fromtimestamp(frame.captured_unix, timezone.utc)
    return f"{captured:%Y%m%dT%H%M%S}.{captured.microsecond // 1000:03d}Z_{source_word(frame.source)}_{frame.index:06d}"


def are_near_equal(one: NDArray[np.int16], other: NDArray[np.int16]) -> bool:
    """Whether two blurred pictures show the same: nothing but noise, and all of it lighter or darker, differs.

    Args:
        one: int16 (h, w), grey levels averaged over five pixels both ways.
        other: The same of another picture.
    """
    difference = one - other
    return bool(np.abs(difference - difference.mean()).max() <= _NEAR_LEVELS)


class _Newest:
    """The newest photos, to compare with."""

    def __init__(self) -> None:
        self._blurred: deque[NDArray[np.int16]] = deque(maxlen=_COMPARED)
        self._coarse: deque[NDArray[np.float32]] = deque(maxlen=_COMPARED)

    def add(self, blurred: NDArray[np.int16]) -> None:
        self._blurred.append(blurred)
        self._coarse.append(_coarse(blurred))

    def holds(self, blurred: NDArray[np.int16]) -> bool:
        """Whether one of them is near-equal; few of them are looked at closely."""
        if not self._blurred:
            return False
        difference = np.stack(self._coarse) - _coarse(blurred)
        is_close = np.abs(difference).max(axis=1) <= _NEAR_LEVELS + 0.01  # a mean is never above the largest value
        newest_first = reversed(np.flatnonzero(is_close).tolist())
        return any(are_near_equal(blurred, self._blurred[index]) for index in newest_first)


def _coarse(blurred: NDArray[np.int16]) -> NDArray[np.float32]:
    """Means over blocks, about the mean of all: float32 (256,)."""
    blocks = np.asarray(cv2.resize(blurred.astype(np.float32), _COARSE_HW, interpolation=cv2.INTER_AREA)).ravel()
    return np.asarray(blocks - blocks.mean(), np.float32)


def _blurred(look: NDArray[np.uint8]) -> NDArray[np.int16]:
    grey = cv2.cvtColor(look, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.blur(grey, _BOX)).astype(np.int16)


def _kinds(remark: str) -> list[str]:
    """``darker by 30 %, more noise (2.1 grey levels for 1.0)`` → ``darker``, ``more noise``."""
    return [part.partition(" by ")[0].partition(" (")[0] for part in remark.split(", ")]


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    return resize(image, (max(1, round(_THUMB_WIDTH * height / width)), _THUMB_WIDTH)).copy()


def _write_new(path: Path, content: bytes) -> Path:
    """Write a file that was not there, whole or not at all; one of that name stays, and this one gets a number."""
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")  # another process may have this name too
    try:
        with partial.open("wb") as file:
            file.write(content)
        for number in range(1, 1000):
            place = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
            if _is_placed(partial, place):
                return place
        raise FileExistsError(17, "a thousand files of this name", str(path))
    finally:
        with suppress(OSError):
            partial.unlink()


def _is_placed(partial: Path, place: Path) -> bool:
    try:
        os.link(partial, place)  # fails where the name is taken, whoever took it
    except FileExistsError:
        return False
    except OSError:  # FAT cards and some network disks have no links
        if place.exists():
            return False
        partial.rename(place)
    return True
