"""A live stream that FFmpeg reads: RTSP, RTMP, SRT, and what HTTP carries besides MJPEG."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge_ad.errors import DataError, DeviceError
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.ffmpeg_source import FFmpegSource

if TYPE_CHECKING:
    from edge_ad.streaming.sources.video_reader import VideoReader

__all__ = ["NetworkSource"]

# Short enough that a stream is back within 2 s of its return although an attempt has just begun to wait.
_OPEN_TIMEOUT_S = 1.5
_ABANDON_S = 3.0  # FFmpeg has no time-out for the look-up of a name, nor for every step of every protocol
_OPTIONS: Mapping[str, str] = {"rtsp_transport": "tcp"}  # by UDP, lost packets would be damage


class NetworkSource(FFmpegSource):
    """A network camera, live.

    Args:
        url: ``rtsp://``, ``rtmp://``, ``srt://`` or any other live address that FFmpeg opens.
        timeout_s: Longest silence in seconds before it counts as lost.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        super().__init__(url, is_live=True)
        self._url = url
        self._timeout_s = timeout_s
        self._deadline = Deadline()

    def cancel(self) -> None:
        """Wait no longer for the connection; a read ends by its own time-out."""
        self._deadline.cancel()

    def _open_reader(self) -> VideoReader:
        self._deadline.start(_ABANDON_S)
        try:
            self._deadline.call(lambda: _look_up(self._url))
            return self._deadline.call(self._connect, lambda reader: reader.close())
        except DataError as error:
            raise DeviceError(f"The stream {self.name}: {error.message}", "See EDGE_AD_MAX_IMAGE_PIXELS.") from None
        except (OSError, ValueError):  # FFmpeg's message may hold the address with its password
            raise DeviceError(
                f"The stream {self.name} does not answer.", "Check the address, the network, and user and password."
            ) from None

    def _connect(self) -> VideoReader:
        from edge_ad.streaming.sources.video_reader import VideoReader

        # One thread: frame-parallel decoding holds back as many frames as it has threads.
        return VideoReader(self._url, options=_OPTIONS, timeout_s=(_OPEN_TIMEOUT_S, self._timeout_s), threads=1)


def _look_up(url: str) -> None:
    """Find the host's address, so that FFmpeg is not left to wait for it."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return  # FFmpeg knows addresses of other forms
    if host:
        socket.getaddrinfo(host, None)
