"""What video files and network streams share: whole frames from FFmpeg."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.sources.video_reader import VideoReader

__all__ = ["FFmpegSource"]


class FFmpegSource(Source):
    """Reads a `VideoReader` that a subclass opens; damaged frames, and what is decoded from them, are counted."""

    _reader: VideoReader | None = None
    _corrupt_before = 0  # in readers that are closed

    @property
    def fps(self) -> float | None:
        """Frames per second that the container names; None when it names nothing believable."""
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
        """Let go of it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @abstractmethod
    def _open_reader(self) -> VideoReader:
        """Open it or raise DataError or DeviceError."""
