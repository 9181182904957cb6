"""What camera, video file and network stream share: frames from one OpenCV capture."""

from __future__ import annotations

import threading
from abc import abstractmethod

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.image_limits import pixel_limit
from edge_ad.streaming.sources.base import Source

__all__ = ["OpenCVSource"]

_BELIEVABLE_FPS = 1000.0
_MOST_CORRUPT_IN_ROW = 100  # a camera that sends nothing else is as good as gone
_CLOSE_S = 0.2


class OpenCVSource(Source):
    """Reads an OpenCV capture that a subclass opens."""

    _capture: cv2.VideoCapture | None = None

    def __init__(self, name: str, *, is_live: bool) -> None:
        super().__init__(name, is_live=is_live)
        self._is_reading = threading.Lock()

    @property
    def fps(self) -> float | None:
        """Frames per second that the container or driver names; None when it names nothing believable."""
        fps = 0.0 if self._capture is None else float(self._capture.get(cv2.CAP_PROP_FPS))
        return fps if 0.0 < fps <= _BELIEVABLE_FPS else None

    def open(self) -> None:
        """Open the capture."""
        self._capture = self._open_capture()

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame that can be decoded; None when there is none."""
        capture = self._capture
        if capture is None:
            return None
        for _ in range(_MOST_CORRUPT_IN_ROW):
            with self._is_reading:
                if not capture.grab():
                    return None
                is_read, image = capture.retrieve()
            if is_read and image.shape[0] * image.shape[1] <= pixel_limit():
                return np.asarray(image, np.uint8)
            self.corrupt += 1
        return None

    def close(self) -> None:
        """Release the capture; one that another thread hangs in is left to that thread."""
        capture, self._capture = self._capture, None
        if capture is not None and self._is_reading.acquire(timeout=_CLOSE_S):
            capture.release()
            self._is_reading.release()

    @abstractmethod
    def _open_capture(self) -> cv2.VideoCapture:
        """Open it or raise DataError or DeviceError."""
