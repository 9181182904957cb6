"""Cameras of this machine: V4L2 and the like through OpenCV, and CSI through GStreamer."""

from __future__ import annotations

import os
import sys
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, UsageError
from edge_ad.image_limits import pixel_limit
from edge_ad.opencv_log import silence_opencv
from edge_ad.outside_text import storable
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.options import SourceOptions

__all__ = ["CameraSource", "CsiSource", "OpenCVSource", "csi_pipeline", "open_capture", "quiet"]

_BELIEVABLE_FPS = 1000.0
_MOST_CORRUPT_IN_ROW = 100  # a camera that sends nothing else counts as lost
_CLOSE_S = 0.2
# Read by OpenCV when it opens the first capture of the process; the user's own setting has priority.
_ENVIRONMENT: Mapping[str, str] = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    # An unplugged camera is noticed after this many seconds instead of ten.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",
}
_DEFAULT_SIZE, _DEFAULT_FPS = (1280, 720), 30.0
# OpenCV's own choice would try, and complain about, every backend it was built with.
_BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
_MANUAL_EXPOSURE = 1  # V4L2_EXPOSURE_MANUAL
_EXPOSURE_UNIT_US = 100.0  # V4L2_CID_EXPOSURE_ABSOLUTE counts in steps of 100 µs
_CLOSE_ENOUGH = 0.02  # drivers round to what the sensor supports

_Setting = tuple[str, int, float]  # as the user knows it, CAP_PROP_, value


class OpenCVSource(Source):
    """Reads an OpenCV capture that a subclass opens."""

    _capture: cv2.VideoCapture | None = None

    def __init__(self, name: str, *, is_live: bool) -> None:
        super().__init__(name, is_live=is_live)
        self._is_reading = threading.Lock()

    @property
    def fps(self) -> float | None:
        """Frames per second according to the container or driver; None where it gives no plausible number."""
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
        """Release the capture, or leave that to a thread that hangs in it."""
        capture, self._capture = self._capture, None
        if capture is not None and self._is_reading.acquire(timeout=_CLOSE_S):
            capture.release()
            self._is_reading.release()

    @abstractmethod
    def _open_capture(self) -> cv2.VideoCapture:
        """Open it or raise DataError or DeviceError."""


def quiet() -> None:
    """Keep OpenCV and FFmpeg from writing to stderr: a failure is reported once, by us."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    silence_opencv()


def open_capture(target: str | int, backend: int, options: Mapping[int, int]) -> cv2.VideoCapture | None:
    """Open a camera, file or URL.

    Args:
        target: Device index, path or URL.
        backend: One of OpenCV's ``CAP_`` backends.
        options: ``CAP_PROP_`` → value, as the backend takes them at opening.

    Returns:
        The open capture, or None when it cannot be opened.
    """
    quiet()
    with _name_of(target) as name:
        capture = cv2.VideoCapture(name, backend, [number for pair in options.items() for number in pair])
    if capture.isOpened():
        return capture
    capture.release()
    return None


@contextmanager
def _name_of(target: str | int) -> Iterator[str | int]:
    """Check what OpenCV is given: a file name that is not UTF-8 crashes its native code."""
    if not isinstance(target, str) or storable(target) == target:
        yield target
        return
    try:
        descriptor = os.open(target, os.O_RDONLY)
    except OSError:
        yield storable(target)  # an address, or a file that is not there
        return
    try:
        yield f"/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)


class CsiSource(OpenCVSource):
    """A CSI camera, live.

    Args:
        sensor: Number of the sensor, from 0.
        options: Width, height, fps, exposure and gain to ask for; 1280×720 at 30 FPS if not given.
    """

    def __init__(self, sensor: int, options: SourceOptions | None = None) -> None:
        super().__init__(f"CSI camera {sensor}", is_live=True)
        self._sensor = sensor
        self._options = options or SourceOptions()

    def _open_capture(self) -> cv2.VideoCapture:
        if not _has_gstreamer():
            raise DeviceError(
                "This OpenCV was built without GStreamer, which a CSI camera needs.",
                "Use the OpenCV of JetPack instead of the one from pip: see docs/reference/sources.md.",
            )
        capture = open_capture(csi_pipeline(self._sensor, self._options), cv2.CAP_GSTREAMER, {})
        if capture is None:
            raise DeviceError(
                f"CSI camera {self._sensor} cannot be opened.",
                "Look at its cable, whether its driver is chosen in jetson-io.py, and whether nvargus-daemon runs.",
            )
        return capture


def csi_pipeline(sensor: int, options: SourceOptions) -> str:
    """The GStreamer pipeline: newest frame, BGR, at the requested size, converted by the Jetson's hardware.

    Args:
        sensor: Number of the sensor.
        options: Width, height, fps, exposure and gain; fixed by a range of one value, which also ends their automatic.

    Returns:
        A description as ``gst-launch-1.0`` takes it.
    """
    width, height = options.width or _DEFAULT_SIZE[0], options.height or _DEFAULT_SIZE[1]
    rate = Fraction(options.fps or _DEFAULT_FPS).limit_denominator(1001)
    source = f"nvarguscamerasrc sensor-id={sensor}"
    if options.exposure_us is not None:
        nanoseconds = round(options.exposure_us * 1000)
        source += f' exposuretimerange="{nanoseconds} {nanoseconds}"'
    if options.gain is not None:
        source += f' gainrange="{options.gain:g} {options.gain:g}"'
    return " ! ".join(
        (
            source,
            f"video/x-raw(memory:NVMM), width=(int){width}, height=(int){height}, format=(string)NV12, "
            f"framerate=(fraction){rate.numerator}/{rate.denominator}",
            "nvvidconv",  # from the sensor's memory to the processor's, and to four channels
            "video/x-raw, format=(string)BGRx",
            "videoconvert",
            "video/x-raw, format=(string)BGR",
            "appsink drop=true max-buffers=1 sync=false",
        )
    )


def _has_gstreamer() -> bool:
    return cv2.CAP_GSTREAMER in cv2.videoio_registry.getBackends()


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
        """The next frame; one that the driver gives again, with the same time stamp, is counted and skipped."""
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
    """In the order that drivers need: the format decides the possible sizes, the size the rates."""
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
    return f"Check that it exists{path}, that no other program holds it, and that you may use it."
