"""Makes sources from addresses, by one grammar.

camera of this machine   v4l2://0?width=1280&pixel_format=MJPG   v4l2:///dev/video2   (--camera 0)
camera of a Jetson       csi://0?width=1920&height=1080
Basler camera            basler://0   basler://40012345?exposure=5000&gain=2
camera of any maker      aravis://0   genicam://40012345?producer=/opt/maker/lib&ExposureTime=5000
live stream              rtsp://host/stream   http://host/video
camera asked for each    snapshot+http://host/picture.jpg
video file               line.mp4   file:///data/line.mp4?loop=1&start=12.5
folder of images         parts   file:///data/parts?watch=1&after=move
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.images import IMAGE_SUFFIXES
from edge_ad.masked_address import MASK, masked_address
from edge_ad.registry import Registry
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.sources.options import CAMERA_OPTIONS, SourceOptions, only, with_query
from edge_ad.streaming.sources.reconnecting import ReconnectingSource

__all__ = ["as_one_source", "camera_source", "source_from_uri"]

_VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"})
_OTHERS = Registry("edge_ad.sources")  # name: scheme of the address; value: function of address and options → Source
_HTTP_SCHEMES = frozenset({"http", "https"})
_SNAPSHOT_SCHEMES = frozenset({"snapshot+http", "snapshot+https"})
_STREAM_SCHEMES = frozenset({"rtmp", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
_LOGIN = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:?/{0,2})?[^/@]*:[^@]*@|(?:rtsps?|https?|rtmp|srt):/", re.IGNORECASE)
# A host with a path and settings, or with user and password: not a file name.
_ADDRESS = re.compile(
    r"/{0,2}[\w.-]+(?::[0-9]{1,5})?/.*[?&].*=|.*[?&;/](?:user|pwd|pass|password|token)\w*=|[a-z]+;//|//", re.IGNORECASE
)
_LONGEST_INDEX = 3  # digits: a longer number is a serial number


def as_one_source(sources: Sequence[Source]) -> Source:
    """The only source, or a description of several: joined names, summed rates, live if one of them is."""
    return sources[0] if len(sources) == 1 else CompositeSource(sources)


class CompositeSource(Source):
    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__("several sources", is_live=any(source.is_live for source in sources))
        self.name = ", ".join(source.name for source in sources)
        self._sources = sources

    @property
    def fps(self) -> float | None:
        rates = [source.fps for source in self._sources]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if len(known) == len(rates) else None

    def open(self) -> None:
        """Does nothing: each source is opened by itself."""

    def read(self) -> NDArray[np.uint8] | None:
        return None

    def close(self) -> None:
        """Does nothing: each source is closed by itself."""


def camera_source(index: int, options: SourceOptions | None = None) -> Source:
    """A camera of this machine (``--camera N``), which is waited for when it is lost.

    Args:
        index: Number of the camera, from 0.
        options: Width, height, fps, pixel format, exposure and gain to ask it for. What it did not take is told in
            the source's ``notes`` once it is open; so is what it does instead.

    Raises:
        UsageError: A negative index, or an option without effect for a camera.
    """
    if index < 0:
        raise UsageError(f"There is no camera {index}.", "Cameras are numbered from 0.")
    return _v4l2(str(index), options or SourceOptions())


def source_from_uri(uri: str, options: SourceOptions | None = None) -> Source:
    """A camera, a live stream, a video file, a folder of images or an image.

    Settings in the query of a ``v4l2://``, ``csi://``, ``basler://``, ``aravis://``, ``genicam://`` or ``file://``
    address go before the options;
    the query of a stream's address belongs to its server. An HTTP address whose path ends like a video file is read
    as a file: every frame, to its end.

    Args:
        uri: Address or path, as in the table of this module.
        options: ``--width --height --fps --pixel-format --exposure --gain --hardware-trigger --loop --start --pace
            --watch --after --max-outage --timeout`` of the command line.

    Raises:
        UsageError: An address of an unknown kind, an unknown setting in it, or an option without effect for it.
    """
    options = options or SourceOptions()
    scheme, separator, rest = uri.partition("://")
    if not separator:
        _check_scheme(uri)
        return _file_source(Path(uri).expanduser(), options)
    scheme = scheme.lower()
    if scheme in _SETTABLE:
        place, _, query = rest.partition("?")
        return _SETTABLE[scheme](unquote(place), options, dict(parse_qsl(query, keep_blank_values=True)))
    if scheme in _HTTP_SCHEMES:
        return _http_source(uri, options)
    if scheme in _SNAPSHOT_SCHEMES:
        return _snapshot(uri.partition("+")[2], options)
    if scheme in _STREAM_SCHEMES:
        from edge_ad.streaming.sources.ffmpeg_sources import NetworkSource

        only(options, f"{scheme}://", ())
        return _waited_for(NetworkSource(uri, timeout_s=options.timeout_s), options)
    if (entry := _OTHERS.get(scheme)) is not None:
        return _third_party(entry, uri, options)
    scheme = masked_address(f"{scheme}://{MASK}").removesuffix(MASK)
    known = ", ".join(
        sorted(_STREAM_SCHEMES | _HTTP_SCHEMES | _SNAPSHOT_SCHEMES | set(_SETTABLE) | set(_OTHERS.names()))
    )
    raise UsageError(f"Unknown kind of address: {scheme or MASK}.", f"Known: {known}.")


def _third_party(entry: EntryPoint, uri: str, options: SourceOptions) -> Source:
    """A source whose scheme another distribution registers: its entry point takes the address and the options."""
    source = entry.load()(uri, options)
    if not isinstance(source, Source):
        raise UsageError(f"What {entry.value} makes of an address is not a source.", "Report it to its maker.")
    return _waited_for(source, options) if source.is_live else source


def _check_scheme(text: str) -> None:
    """Refuse a login with a host where a path is expected: the message about a missing file would show it."""
    is_there = os.path.exists(os.path.expanduser(text))  # noqa: PTH110, PTH111 - takes any text
    if not is_there and (_LOGIN.match(text) or _ADDRESS.match(text) or "@" in text):
        shown = masked_address(text)
        raise UsageError(f"{shown} is an address without its kind.", "Write rtsp:// or http:// before it.")


def _waited_for(source: Source, options: SourceOptions) -> Source:
    return ReconnectingSource(source, max_outage_s=options.max_outage_s)


def _http_source(uri: str, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources.ffmpeg_sources import VideoFileSource
    from edge_ad.streaming.sources.http_stream import HttpSource

    try:
        path = urlsplit(uri).path
    except ValueError:  # half an IPv6 address
        raise UsageError("The address of the stream cannot be read.", "Write http://host:port/path.") from None
    if PurePosixPath(path).suffix.lower() in _VIDEO_SUFFIXES:
        only(options, "a video", ("loop", "start_s", "pace"))
        return VideoFileSource(uri, loop=options.loop, start_s=options.start_s, at_its_rate=options.pace == "source")
    only(options, "a network stream", ())
    return _waited_for(HttpSource(uri, timeout_s=options.timeout_s), options)


def _snapshot(uri: str, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources.http_stream import SnapshotSource

    only(options, "a camera that is asked for each picture", ("fps",))
    source = (
        SnapshotSource(uri, timeout_s=options.timeout_s)
        if options.fps is None
        else SnapshotSource(uri, fps=options.fps, timeout_s=options.timeout_s)
    )
    return _waited_for(source, options)


def _v4l2_address(place: str, options: SourceOptions, query: Mapping[str, str]) -> Source:
    if not (_is_index(place) or place.startswith("/dev/")):
        raise UsageError(
            f"{masked_address(f'v4l2://{place}')} names no camera.", "Write v4l2://0, or v4l2:///dev/video0."
        )
    return _v4l2(place, with_query(options, query))


def _v4l2(device: str, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources.camera import CameraSource

    only(options, "a camera of this machine", (*CAMERA_OPTIONS, "pixel_format"))
    return _waited_for(CameraSource(int(device) if _is_index(device) else device, options), options)


def _csi(place: str, options: SourceOptions, query: Mapping[str, str]) -> Source:
    from edge_ad.streaming.sources.camera import CsiSource

    if not _is_index(place):
        raise UsageError(f"{masked_address(f'csi://{place}')} names no sensor.", "Write csi://0 for the first.")
    options = only(with_query(options, query), "a CSI camera", CAMERA_OPTIONS)
    return _waited_for(CsiSource(int(place), options), options)


def _basler(place: str, options: SourceOptions, query: Mapping[str, str]) -> Source:
    from edge_ad.streaming.sources.basler import BaslerSource

    camera, options, features = _machine_vision("basler", place, options, query)
    return _waited_for(BaslerSource(camera, options, features), options)


def _aravis(place: str, options: SourceOptions, query: Mapping[str, str]) -> Source:
    from edge_ad.streaming.sources.aravis import AravisDriver
    from edge_ad.streaming.sources.genicam import GenicamSource

    camera, options, features = _machine_vision("aravis", place, options, query)
    return _waited_for(GenicamSource(AravisDriver(), "Aravis camera", camera, options, features), options)


def _genicam(place: str, options: SourceOptions, query: Mapping[str, str]) -> Source:
    from edge_ad.streaming.sources.genicam import GenicamSource
    from edge_ad.streaming.sources.gentl import GentlDriver

    others = {name: value for name, value in query.items() if name != "producer"}
    camera, options, features = _machine_vision("genicam", place, options, others)
    driver = GentlDriver(query.get("producer", ""))
    return _waited_for(GenicamSource(driver, "GenICam camera", camera, options, features), options)


def _machine_vision(
    scheme: str, place: str, options: SourceOptions, query: Mapping[str, str]
) -> tuple[int | str, SourceOptions, Mapping[str, str]]:
    """The number or serial number of a camera, its options, and its features, whose names begin with a capital."""
    features = {name: value for name, value in query.items() if name[:1].isupper()}
    options = with_query(options, {name: value for name, value in query.items() if name not in features})
    only(options, f"a camera at {scheme}://", (*CAMERA_OPTIONS, "pixel_format", "hardware_trigger"))
    if not place:
        raise UsageError(f"{scheme}:// names no camera.", f"Write {scheme}://0 for the first, or its serial number.")
    return int(place) if _is_index(place) else place, options, features


def _file_address(place: str, options: SourceOptions, query: Mapping[str, str]) -> Source:
    return _file_source(Path(place), with_query(options, query))


def _file_source(path: Path, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources.ffmpeg_sources import VideoFileSource
    from edge_ad.streaming.sources.folders import ImageFolderSource, WatchedFolderSource

    if options.watch:
        only(options, "a watched folder", ("watch", "after"))
        return WatchedFolderSource(path, move=options.after == "move")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        only(options, "a folder of images that is not watched", ("loop", "pace", "fps", "watch"))
        return ImageFolderSource(path, loop=options.loop, fps=_folder_fps(options))
    only(options, "a video file", ("loop", "start_s", "pace"))
    return VideoFileSource(str(path), loop=options.loop, start_s=options.start_s, at_its_rate=options.pace == "source")


def _folder_fps(options: SourceOptions) -> float | None:
    if (options.pace == "source") != (options.fps is not None):
        raise UsageError("Images have no frame rate of their own.", "Give both: --fps 10 --pace source.")
    return options.fps


def _is_index(place: str) -> bool:
    return place.isascii() and place.isdigit() and len(place) <= _LONGEST_INDEX


_SETTABLE: Mapping[str, Callable[[str, SourceOptions, Mapping[str, str]], Source]] = {
    "v4l2": _v4l2_address,
    "csi": _csi,
    "aravis": _aravis,
    "basler": _basler,
    "genicam": _genicam,
    "file": _file_address,
}
