"""A live stream that FFmpeg reads: RTSP, RTMP, SRT, and what HTTP carries besides MJPEG."""

from __future__ import annotations

import cv2

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.video_capture import open_capture

__all__ = ["NetworkSource", "without_password"]

# Short enough that a stream is back within 2 s of its return although an attempt has just begun to wait.
_OPEN_TIMEOUT_MS = 1500


class NetworkSource(OpenCVSource):
    """A network camera, live.

    Args:
        url: ``rtsp://``, ``rtmp://``, ``srt://`` or any other live address that FFmpeg opens.
        timeout_s: Longest silence in seconds before it counts as lost.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        super().__init__(without_password(url), is_live=True)
        self._url = url
        self._timeout_ms = round(timeout_s * 1000)

    def _open_capture(self) -> cv2.VideoCapture:
        options = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: self._timeout_ms,
            # Frame-parallel decoding holds back as many frames as it has threads.
            cv2.CAP_PROP_N_THREADS: 1,
        }
        capture = open_capture(self._url, cv2.CAP_FFMPEG, options)
        if capture is None:
            raise DeviceError(
                f"The stream {self.name} does not answer.", "Check the address, the network, and user and password."
            )
        return capture


def without_password(url: str) -> str:
    """The address as it may be shown and recorded."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return f"{scheme}{separator}{host}{slash}{path}"
