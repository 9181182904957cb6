"""A camera at this machine: by index, or by its device file."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.options import SourceOptions
from edge_ad.streaming.sources.video_capture import open_capture

__all__ = ["CameraSource"]

# OpenCV's own choice would try, and complain about, every backend it was built with.
_BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
_MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL
_EXPOSURE_UNIT_US = 100.0  # V4L2_CID_EXPOSURE_ABSOLUTE counts in steps of 100 µs
_CLOSE_ENOUGH = 0.02  # drivers round to what the sensor can do

_Setting = tuple[str, int, float]  # as the user knows it, CAP_PROP_, value


class CameraSource(OpenCVSource):
    """A camera, live.

    Args:
        device: Number of the camera, 0 for the first (``/dev/video0``), or its device file, such as
            ``/dev/v4l/by-id/…``, which stays the same when cameras are plugged in another order.
        options: Width, height, fps, pixel format, exposure and gain to ask for.

    Raises:
        UsageError: A pixel format that is no FourCC, or an exposure time where there is no V4L2.
    """

    def __init__(self, device: int | str, options: SourceOptions | None = None) -> None:
        super().__init__(f"camera {device}", is_live=True)
        self._device = device
        self._options = options or SourceOptions()
        self._last_stamp_ms = 0.0
        _check(self._options)

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame; one that the driver hands out again with the same time stamp is counted and skipped."""
        while (image := super().read()) is not None:
            stamp_ms = 0.0 if self._capture is None else float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if stamp_ms <= 0.0 or stamp_ms != self._last_stamp_ms:
                self._last_stamp_ms = stamp_ms
                return image
            self.duplicates += 1
        return None

    def _open_capture(self) -> cv2.VideoCapture:
        capture = open_capture(self._device, _BACKENDS.get(sys.platform, cv2.CAP_ANY), {})
        if capture is None:
            raise DeviceError(f"Camera {self._device} cannot be opened.", _hint(self._device))
        for _, prop, wanted in _settings(self._options):
            capture.set(prop, wanted)
        for name, prop, wanted in _settings(self._options):
            self._compare(name, prop, wanted, float(capture.get(prop)))
        return capture

    def _compare(self, name: str, prop: int, wanted: float, got: float) -> None:
        if abs(got - wanted) <= _CLOSE_ENOUGH * abs(wanted):
            return
        shown = [_fourcc_text(value) if prop == cv2.CAP_PROP_FOURCC else f"{value:g}" for value in (wanted, got)]
        self.notes.append(f"{self.name} did not take {name} {shown[0]}: it is {shown[1]}.")


def _settings(options: SourceOptions) -> Iterator[_Setting]:
    """In the order drivers want: the format decides which sizes there are, the size which rates."""
    if options.pixel_format is not None:
        yield "pixel format", cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*options.pixel_format.upper())
    if options.width is not None:
        yield "width", cv2.CAP_PROP_FRAME_WIDTH, options.width
    if options.height is not None:
        yield "height", cv2.CAP_PROP_FRAME_HEIGHT, options.height
    if options.fps is not None:
        yield "fps", cv2.CAP_PROP_FPS, options.fps
    if options.exposure_us is not None:
        yield "manual exposure", cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE
        steps = max(1, round(options.exposure_us / _EXPOSURE_UNIT_US))
        yield "exposure (in steps of 100 µs)", cv2.CAP_PROP_EXPOSURE, steps
    if options.gain is not None:
        yield "gain", cv2.CAP_PROP_GAIN, options.gain


def _check(options: SourceOptions) -> None:
    if options.pixel_format is not None and (len(options.pixel_format) != 4 or not options.pixel_format.isascii()):
        raise UsageError(f"{options.pixel_format} is not a pixel format of V4L2.", "It has four letters: MJPG, YUYV.")
    if options.exposure_us is not None and sys.platform != "linux":
        raise UsageError("An exposure time can only be set on Linux.", "Set it in the camera's own program.")


def _fourcc_text(value: float) -> str:
    text = int(value).to_bytes(4, "little", signed=value < 0).decode("ascii", "replace").rstrip("\0 ")
    return text if text.isprintable() and text else "unknown"


def _hint(device: int | str) -> str:
    path = f" as /dev/video{device}" if isinstance(device, int) and sys.platform == "linux" else ""
    return f"Look whether it is there{path}, whether another program holds it, and whether you may use it."
