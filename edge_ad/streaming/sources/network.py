"""A live stream over RTSP or HTTP."""

from __future__ import annotations

import cv2

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.video_capture import open_capture

__all__ = ["NetworkSource"]

# Short enough that a stream whose cable was pulled is back within 3 s of the cable's return.
_TIMEOUT_MS = 2000


class NetworkSource(OpenCVSource):
    """A network camera, live.

    Args:
        url: ``rtsp://``, ``http://`` (MJPEG) or any other live address that FFmpeg opens.
    """

    def __init__(self, url: str) -> None:
        super().__init__(_without_password(url), is_live=True)
        self._url = url

    def _open_capture(self) -> cv2.VideoCapture:
        options = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: _TIMEOUT_MS,
            # Frame-parallel decoding holds back as many frames as it has threads.
            cv2.CAP_PROP_N_THREADS: 1,
        }
        capture = open_capture(self._url, cv2.CAP_FFMPEG, options)
        if capture is None:
            raise DeviceError(
                f"The stream {self.name} does not answer.", "Check the address, the network, and user and password."
            )
        return capture


def _without_password(url: str) -> str:
    """The address as it may be shown and recorded."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return f"{scheme}{separator}{host}{slash}{path}"
