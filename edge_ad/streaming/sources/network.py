"""A live stream that FFmpeg reads: RTSP, RTMP, SRT, and what HTTP carries besides MJPEG."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import cv2

from edge_ad.errors import DeviceError
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.video_capture import claims_too_much, open_capture

__all__ = ["NetworkSource"]

# Short enough that a stream is back within 2 s of its return although an attempt has just begun to wait.
_OPEN_TIMEOUT_MS = 1500
_ABANDON_S = 3.0  # FFmpeg has no time-out for the look-up of a name, nor for every step of every protocol


class NetworkSource(OpenCVSource):
    """A network camera, live.

    Args:
        url: ``rtsp://``, ``rtmp://``, ``srt://`` or any other live address that FFmpeg opens.
        timeout_s: Longest silence in seconds before it counts as lost.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        super().__init__(url, is_live=True)
        self._url = url
        self._timeout_ms = round(timeout_s * 1000)
        self._deadline = Deadline()

    def cancel(self) -> None:
        """Wait no longer for the connection; a read ends by its own time-out."""
        self._deadline.cancel()

    def _open_capture(self) -> cv2.VideoCapture:
        options = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: self._timeout_ms,
            # Frame-parallel decoding holds back as many frames as it has threads.
            cv2.CAP_PROP_N_THREADS: 1,
        }
        self._deadline.start(_ABANDON_S)
        try:
            self._deadline.call(lambda: _look_up(self._url))
            capture = self._deadline.call(lambda: open_capture(self._url, cv2.CAP_FFMPEG, options), _release)
        except OSError:
            capture = None
        if capture is None:
            raise DeviceError(
                f"The stream {self.name} does not answer.", "Check the address, the network, and user and password."
            )
        if (problem := claims_too_much(capture)) is not None:
            capture.release()
            raise DeviceError(f"The stream {self.name} {problem}.", "See EDGE_AD_MAX_IMAGE_PIXELS.")
        return capture


def _look_up(url: str) -> None:
    """Find the host's address, so that FFmpeg is not left to wait for it."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return  # FFmpeg knows addresses of other forms
    if host:
        socket.getaddrinfo(host, None)


def _release(capture: cv2.VideoCapture | None) -> None:
    if capture is not None:
        capture.release()
