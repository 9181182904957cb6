"""Which source an argument of the command line means."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from edge_ad.errors import UsageError
from edge_ad.images import IMAGE_SUFFIXES
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.camera import CameraSource
from edge_ad.streaming.sources.image_folder import ImageFolderSource
from edge_ad.streaming.sources.network import NetworkSource
from edge_ad.streaming.sources.reconnecting import ReconnectingSource
from edge_ad.streaming.sources.video_file import VideoFileSource

__all__ = ["camera_source", "source_from_uri"]

_VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"})
_STREAM_SCHEMES = frozenset({"http", "https", "rtmp", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
_HTTP_SCHEMES = frozenset({"http", "https"})


def camera_source(index: int, *, max_outage_s: float | None = None) -> Source:
    """A camera that is waited for when it is gone.

    Args:
        index: Number of the camera, from 0.
        max_outage_s: Longest outage in seconds; None waits for ever.

    Raises:
        UsageError: A negative index.
    """
    if index < 0:
        raise UsageError(f"There is no camera {index}.", "Cameras are numbered from 0.")
    return ReconnectingSource(CameraSource(index), max_outage_s=max_outage_s)


def source_from_uri(uri: str, *, max_outage_s: float | None = None) -> Source:
    """A folder of images, an image, a video file, or a live stream.

    An HTTP address whose path ends like a video file is read as a file: every frame, to its end.

    Args:
        uri: Path, ``file://`` or stream address.
        max_outage_s: Longest outage in seconds of a live stream; None waits for ever.

    Raises:
        UsageError: An address of an unknown kind.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _file_source(Path(uri).expanduser())
    if scheme == "file":
        return _file_source(Path(unquote(rest)))
    if scheme not in _STREAM_SCHEMES:
        raise UsageError(f"Unknown kind of address: {scheme}://.", f"Known: {', '.join(sorted(_STREAM_SCHEMES))}.")
    if scheme in _HTTP_SCHEMES and PurePosixPath(urlsplit(uri).path).suffix.lower() in _VIDEO_SUFFIXES:
        return VideoFileSource(uri)
    return ReconnectingSource(NetworkSource(uri), max_outage_s=max_outage_s)


def _file_source(path: Path) -> Source:
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolderSource(path)
    return VideoFileSource(str(path))
