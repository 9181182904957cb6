"""A video file, every frame of it."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from edge_ad.errors import DataError
from edge_ad.streaming.sources.opencv_source import OpenCVSource
from edge_ad.streaming.sources.video_capture import open_capture

__all__ = ["VideoFileSource", "decoder_threads"]


def decoder_threads() -> int:
    """How many threads FFmpeg may decode with: they compete with the engine for the same cores."""
    return max(1, min(4, (os.cpu_count() or 1) // 4))


class VideoFileSource(OpenCVSource):
    """A video file or a video behind an HTTP address.

    Args:
        target: Path, or URL of a file such as ``http://host/line.mp4``.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target, is_live=False)

    def _open_capture(self) -> cv2.VideoCapture:
        if "://" not in self.name:
            _check_file(Path(self.name))
        options = {cv2.CAP_PROP_N_THREADS: decoder_threads(), cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 10_000}
        capture = open_capture(self.name, cv2.CAP_FFMPEG, options)
        if capture is None:
            raise DataError(f"Not a video that can be decoded: {self.name}.", "Try: ffprobe on the file.")
        return capture


def _check_file(path: Path) -> None:
    if not path.exists():
        raise DataError(f"No such file or folder: {path}.", "Give a folder of images, an image or a video.")
    if not os.access(path, os.R_OK):
        raise DataError(f"The file cannot be read (no permission): {path}.", "Check the permissions of the file.")
    if path.stat().st_size == 0:
        raise DataError(f"The file is empty: {path}.", "Copy or record it again.")
