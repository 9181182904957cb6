"""Switches OpenCV's own log off: a failure is reported once, by us."""

from __future__ import annotations

from typing import Any

import cv2

__all__ = ["silence_opencv"]

_SILENT = 0  # LOG_LEVEL_SILENT, the same number in every version


def silence_opencv() -> None:
    """Keep OpenCV from writing to stderr, in 4.9 to 5.

    OpenCV 4 has ``cv2.setLogLevel``; OpenCV 5 has moved it to ``cv2.utils.logging``. A build with neither stays as it
    is: its log is only noise.
    """
    log: Any = getattr(getattr(cv2, "utils", None), "logging", cv2)
    set_level = getattr(log, "setLogLevel", None)
    if set_level is not None:
        set_level(_SILENT)
