"""A camera at this machine, by index."""

from __future__ import annotations

import sys

import cv2

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.video_capture import open_capture

__all__ = ["CameraSource"]

# OpenCV's own choice would try, and complain about, every backend it was built with.
_BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}


class CameraSource(OpenCVSource):
    """A camera, live.

    Args:
        index: Number of the camera, 0 for the first (``/dev/video0``).
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"camera {index}", is_live=True)
        self._index = index

    def _open_capture(self) -> cv2.VideoCapture:
        capture = open_capture(self._index, _BACKENDS.get(sys.platform, cv2.CAP_ANY), {})
        if capture is None:
            raise DeviceError(f"Camera {self._index} cannot be opened.", _hint(self._index))
        return capture


def _hint(index: int) -> str:
    device = f" as /dev/video{index}" if sys.platform == "linux" else ""
    return f"Look whether it is there{device}, whether another program holds it, and whether you may use it."
