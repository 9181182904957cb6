"""Sinks that show the overlay: a window, and a video file."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, StorageError, UsageError
from edge_ad.outside_text import storable
from edge_ad.runtime.peripherals import has_display
from edge_ad.streaming.frame import Result
from edge_ad.streaming.sinks.base import Sink, check_output
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.camera import quiet

__all__ = ["VideoSink", "WindowSink", "has_display"]

_KEYS = (ord("q"), ord("Q"), 27)
_CODECS = {
    ".mp4": ("mp4v", "avc1"),
    ".mov": ("mp4v", "avc1"),
    ".mkv": ("mp4v", "XVID"),
    ".avi": ("MJPG", "XVID"),
}
_LARGEST_WINDOW_WH = (1600, 900)  # what most screens have room for
_FALLBACK_FPS = 25.0
_MARGIN_BYTES = 16 << 20  # OpenCV does not report a full disk, and an MP4 needs space for its index at the end
_CHECK_EVERY = 25


class WindowSink(Sink):
    """Shows every picture; the stream ends when the window is closed or q is pressed.

    Args:
        title: Title of the window.
    """

    needs_picture = True
    delivery = "inline"

    def __init__(self, title: str = "edge-ad") -> None:
        self._title = title
        self._is_open = self._has_size = False

    def begin(self, source: Source) -> None:
        """Open the window."""
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise DeviceError("No window can be opened on this display.", "Run it with --headless.") from error
        self._is_open = True

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Show the picture; the first one gives the window its size."""
        assert picture is not None
        if not self._has_size:
            self._has_size = True
            height, width = picture.shape[:2]
            scale = min(1.0, _LARGEST_WINDOW_WH[0] / width, _LARGEST_WINDOW_WH[1] / height)
            cv2.resizeWindow(self._title, round(scale * width), round(scale * height))
        cv2.imshow(self._title, picture)
        is_closed = cv2.waitKey(1) & 0xFF in _KEYS or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        self.wants_end = self.wants_end or is_closed

    def close(self) -> None:
        """Close the window."""
        if self._is_open:
            self._is_open = False
            cv2.destroyWindow(self._title)


class VideoSink(Sink):
    """Writes to a hidden file beside the target and renames it when it is complete.

    A live stream keeps real time: a frame is repeated until the next one is due, so that a minute lasts a minute.

    Args:
        path: ``.mp4``, ``.mov``, ``.mkv`` or ``.avi``.
        overwrite: Replace an existing file.

    Raises:
        UsageError: The file exists, its folder does not, or its ending is unknown.
    """

    needs_picture = True
    delivery = "lossy"
    waits_for_files = True  # for a file, the video has each frame once

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.suffix.lower() not in _CODECS:
            raise UsageError(f"{path.name} has an unknown ending.", f"Known endings: {', '.join(_CODECS)}.")
        check_output(path, overwrite=overwrite)
        if storable(str(path)) != str(path):  # such a name crashes the process in OpenCV's native code
            raise UsageError(
                f"A video cannot be written to {path}: the name is not UTF-8.", "Give another name or folder."
            )
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix.lower()}")
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self._written = 0
        self._fps = _FALLBACK_FPS
        self._is_live = False
        self._first_at = 0.0

    def begin(self, source: Source) -> None:
        """Note the frame rate."""
        self._fps = source.fps or _FALLBACK_FPS
        self._is_live = source.is_live
        self._check_room()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Append the picture, repeated to fill the time since the last one."""
        assert picture is not None
        if self._writer is None:
            self._first_at = result.frame.captured_at
            self._writer = self._open(picture)
        if (picture.shape[1], picture.shape[0]) != self._size_wh:  # images of a folder may differ in size
            picture = np.asarray(cv2.resize(picture, self._size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        for _ in range(self._repeats(result.frame.captured_at)):
            self._writer.write(picture)
            self._written += 1
            if self._written % _CHECK_EVERY == 0:
                self._check_room()

    def close(self) -> None:
        """Complete the file and give it its name."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        if not _is_playable(self._partial):
            self._partial.unlink(missing_ok=True)
            raise self._failure("the encoder failed, or the disk is full")
        self._partial.replace(self._path)

    def _repeats(self, captured_at: float) -> int:
        if not self._is_live:
            return 1
        due = round((captured_at - self._first_at) * self._fps) + 1 - self._written
        if due > 2 * self._fps:  # an outage is not filled: time continues from here
            self._first_at += (due - 1) / self._fps
            due = 1
        return max(0, due)

    def _open(self, picture: NDArray[np.uint8]) -> cv2.VideoWriter:
        quiet()
        # Encoders for 4:2:0 take even sizes only.
        height, width = (max(2, size - size % 2) for size in picture.shape[:2])
        self._size_wh = (width, height)
        for codec in _CODECS[self._path.suffix.lower()]:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, fourcc, self._fps, self._size_wh)
            if writer.isOpened():
                return writer
            writer.release()
        raise self._failure("no encoder for it, or no permission")

    def _check_room(self) -> None:
        if shutil.disk_usage(self._path.parent).free < _MARGIN_BYTES:
            raise self._failure("no space left on device")

    def _failure(self, why: str) -> StorageError:
        return StorageError(
            f"The video {self._path} cannot be written: {why}.", "Free some space, or choose another place."
        )


def _is_playable(path: Path) -> bool:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return bool(capture.isOpened() and capture.read()[0])
    finally:
        capture.release()
