"""A video file, every frame of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.base import file_path
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.pacing import Pacer
from edge_ad.streaming.sources.video_capture import claims_too_much, open_capture

__all__ = ["VideoFileSource", "decoder_threads"]

_FALLBACK_FPS = 25.0  # of a file that names no rate
_TIMEOUT_MS = 10_000  # of a server, to open and for each frame
_ABANDON_S = 12.0


def decoder_threads() -> int:
    """How many threads FFmpeg may decode with: they compete with the engine for the same cores."""
    return max(1, min(4, (os.cpu_count() or 1) // 4))


class VideoFileSource(OpenCVSource):
    """A video file or a video behind an HTTP address.

    Args:
        target: Path, or URL of a file such as ``http://host/line.mp4``.
        loop: Start again at its end, from ``start_s``.
        start_s: Where to start, in seconds.
        at_its_rate: Play it at its own frame rate instead of as fast as it is read.
    """

    def __init__(self, target: str, *, loop: bool = False, start_s: float = 0.0, at_its_rate: bool = False) -> None:
        super().__init__(target, is_live=False)
        self._target = target
        self.path = "" if "://" in target else file_path(target)
        self._loop, self._start_s, self._at_its_rate = loop, start_s, at_its_rate
        self._pacer: Pacer | None = None
        self._cancelled = threading.Event()
        self._deadline = Deadline()

    def open(self) -> None:
        """Open it at the frame to start with."""
        super().open()
        self._pacer = Pacer(1 / (self.fps or _FALLBACK_FPS)) if self._at_its_rate else None

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame; None after the last, or when cancelled."""
        if self._pacer is not None:
            self._pacer.wait(self._cancelled)
        if self._cancelled.is_set():
            return None
        image = super().read()
        if image is None and self._loop and self._capture is not None:
            self.close()
            super().open()
            image = super().read()
        return image

    def cancel(self) -> None:
        """End the wait for a frame that is due later, or for a server."""
        self._cancelled.set()
        self._deadline.cancel()

    def _open_capture(self) -> cv2.VideoCapture:
        if "://" not in self._target:
            _check_file(Path(self._target))
            return self._open_file()
        self._deadline.start(_ABANDON_S)
        try:
            return self._deadline.call(self._open_file, lambda capture: capture.release())
        except TimeoutError:
            raise DataError(f"The server of {self.name} does not answer in time.", "Check its address.") from None

    def _open_file(self) -> cv2.VideoCapture:
        options = {
            cv2.CAP_PROP_N_THREADS: decoder_threads(),
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: _TIMEOUT_MS,
        }
        capture = open_capture(self._target, cv2.CAP_FFMPEG, options)
        if capture is None:
            raise DataError(f"Not a video that can be decoded: {self.name}.", "Try: ffprobe on the file.")
        if (problem := claims_too_much(capture)) is not None:
            capture.release()
            raise DataError(f"{self.name} {problem}.", "See EDGE_AD_MAX_IMAGE_PIXELS.")
        if self._start_s:
            self._seek(capture)
        return capture

    def _seek(self, capture: cv2.VideoCapture) -> None:
        fps, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if fps > 0 and 0 < frames <= self._start_s * fps:
            capture.release()
            raise DataError(f"{self.name} ends before {self._start_s:g} s: it has {frames / fps:.1f} s.")
        if not capture.set(cv2.CAP_PROP_POS_MSEC, self._start_s * 1000):
            capture.release()
            raise DataError(f"{self.name} cannot be started at {self._start_s:g} s.", "Leave out --start.")


def _check_file(path: Path) -> None:
    if not path.exists():
        raise DataError(f"No such file or folder: {path}.", "Give a folder of images, an image or a video.")
    if not os.access(path, os.R_OK):
        raise DataError(f"The file cannot be read (no permission): {path}.", "Check the permissions of the file.")
    if path.stat().st_size == 0:
        raise DataError(f"The file is empty: {path}.", "Copy or record it again.")
