"""The stream in a window."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.streaming.frame import Result
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sources.base import Source

__all__ = ["WindowSink", "has_display"]

_KEYS = (ord("q"), ord("Q"), 27)


def has_display() -> bool:
    """Whether a window can be shown here."""
    # Elsewhere than on Linux a window needs no server that may be missing.
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class WindowSink(Sink):
    """Shows every picture; the stream ends when the window is closed or q is pressed.

    Args:
        title: Title of the window.
    """

    needs_picture = True
    delivery = "inline"

    def __init__(self, title: str = "edge-ad") -> None:
        self._title = title
        self._is_open = False

    def begin(self, source: Source) -> None:
        """Open the window."""
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise DeviceError("No window can be opened on this display.", "Run it with --headless.") from error
        self._is_open = True

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Show the picture."""
        cv2.imshow(self._title, picture)
        is_closed = cv2.waitKey(1) & 0xFF in _KEYS or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        self.wants_end = self.wants_end or is_closed

    def close(self) -> None:
        """Close the window."""
        if self._is_open:
            self._is_open = False
            cv2.destroyWindow(self._title)
