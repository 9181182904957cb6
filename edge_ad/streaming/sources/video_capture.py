"""OpenCV's VideoCapture, opened without its noise on stderr."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import cv2

from edge_ad.opencv_log import silence_opencv
from edge_ad.outside_text import storable

__all__ = ["open_capture", "quiet"]

# Read by OpenCV when it opens the first capture of the process; what the user set goes first.
_ENVIRONMENT: Mapping[str, str] = {
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET
    # A camera that is unplugged is noticed after this many seconds instead of ten.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",
}


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
    """What OpenCV may be given: the name of a file that is no UTF-8 ends the process in its native code."""
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
