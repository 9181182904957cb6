"""Sources that FFmpeg decodes: video files, and network streams such as RTSP."""

from __future__ import annotations

import os
import socket
import threading
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, DeviceError
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources.base import Pacer, Source, file_path

if TYPE_CHECKING:
    from edge_ad.streaming.sources.video_reader import VideoReader

__all__ = ["FFmpegSource", "NetworkSource", "VideoFileSource", "decoder_threads"]

# Short enough to be back within 2 s of the stream's return, even if an attempt has just begun.
_OPEN_TIMEOUT_S = 1.5
_ABANDON_S = 3.0  # FFmpeg has no time-out for DNS look-ups, nor for every step of every protocol
_OPTIONS: Mapping[str, str] = {"rtsp_transport": "tcp"}  # with UDP, lost packets would be damage
_FALLBACK_FPS = 25.0  # for a file without a rate
_TIMEOUT_S = 10.0  # of a server, to open and for each frame
_VIDEO_FILE_ABANDON_S = 12.0


class FFmpegSource(Source):
    """Reads a `VideoReader` that a subclass opens; damaged frames, and what is decoded from them, are counted."""

    _reader: VideoReader | None = None
    _corrupt_before = 0  # in readers that are closed

    @property
    def fps(self) -> float | None:
        """Frames per second according to the container; None where it gives no plausible number."""
        return None if self._reader is None else self._reader.fps

    def open(self) -> None:
        """Open the video or stream."""
        self._corrupt_before = self.corrupt
        self._reader = self._open_reader()

    def read(self) -> NDArray[np.uint8] | None:
        """The next whole frame; None when there is none."""
        reader = self._reader
        if reader is None:
            return None
        image = reader.read()
        self.corrupt = self._corrupt_before + reader.corrupt
        return image

    def close(self) -> None:
        """Release it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @abstractmethod
    def _open_reader(self) -> VideoReader:
        """Open it or raise DataError or DeviceError."""


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
        """Stop waiting for the connection; a read ends by its own time-out."""
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
    """Resolve the host's address, so that FFmpeg does not wait for it."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return  # FFmpeg knows addresses of other forms
    if host:
        socket.getaddrinfo(host, None)


def decoder_threads() -> int:
    """Number of decoding threads for FFmpeg; they compete with the engine for the same cores."""
    return max(1, min(4, (os.cpu_count() or 1) // 4))


class VideoFileSource(FFmpegSource):
    """A video file or a video behind an HTTP address.

    If it ends before the end that it announces, ``shortage`` says so.

    Args:
        target: Path, or URL of a file such as ``http://host/line.mp4``.
        loop: Start again at its end, from ``start_s``.
        start_s: Where to start, in seconds.
        at_its_rate: Play it at its own frame rate instead of as fast as possible.
    """

    def __init__(self, target: str, *, loop: bool = False, start_s: float = 0.0, at_its_rate: bool = False) -> None:
        super().__init__(target, is_live=False)
        self._target = target
        self.path = "" if "://" in target else file_path(target)
        self._loop, self._start_s, self._at_its_rate = loop, start_s, at_its_rate
        self._pacer: Pacer | None = None
        self._cancelled = threading.Event()
        self._deadline = Deadline()

    def open(self) -> None:
        """Open it at the frame to start with."""
        super().open()
        self._pacer = Pacer(1 / (self.fps or _FALLBACK_FPS)) if self._at_its_rate else None

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame; None after the last, or when cancelled."""
        if self._pacer is not None:
            self._pacer.wait(self._cancelled)
        if self._cancelled.is_set():
            return None
        image = super().read()
        if image is None and self._reader is not None:
            self.shortage = self._reader.shortage()
        if image is None and self._loop and self._reader is not None:
            self.close()
            super().open()
            image = super().read()
        return image

    def cancel(self) -> None:
        """End the wait for a frame that is due later, or for a server."""
        self._cancelled.set()
        self._deadline.cancel()

    def _open_reader(self) -> VideoReader:
        if "://" not in self._target:
            _check_file(Path(self._target))
            return self._open_video(None)
        self._deadline.start(_VIDEO_FILE_ABANDON_S)
        try:
            return self._deadline.call(lambda: self._open_video((_TIMEOUT_S, _TIMEOUT_S)), lambda video: video.close())
        except TimeoutError:
            raise DataError(f"The server of {self.name} does not answer in time.", "Check its address.") from None

    def _open_video(self, timeout_s: tuple[float, float] | None) -> VideoReader:
        from edge_ad.streaming.sources.video_reader import VideoReader

        try:
            return VideoReader(self._target, timeout_s=timeout_s, threads=decoder_threads(), start_s=self._start_s)
        except DataError as error:
            raise DataError(f"{self.name}: {error.message}", error.hint) from None
        except (OSError, ValueError):  # FFmpeg's message may hold the address with its password
            raise DataError(
                f"Not a video that can be decoded: {self.name}.",
                "It may be cut off; try: ffprobe on the file.",
            ) from None


def _check_file(path: Path) -> None:
    if not path.exists():
        raise DataError(f"No such file or folder: {path}.", "Give a folder of images, an image or a video.")
    if not os.access(path, os.R_OK):
        raise DataError(f"The file cannot be read (no permission): {path}.", "Check the permissions of the file.")
    if path.stat().st_size == 0:
        raise DataError(f"The file is empty: {path}.", "Copy or record it again.")
