"""The grammar of addresses: what each takes, and one line for what it does not."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.streaming.sources import SourceOptions, camera_source, source_from_uri
from edge_ad.streaming.sources.camera import CameraSource
from edge_ad.streaming.sources.ffmpeg_sources import VideoFileSource
from edge_ad.streaming.sources.options import with_query


@pytest.mark.parametrize(
    ("address", "name", "is_live"),
    [
        ("v4l2://0", "camera 0", True),
        ("v4l2:///dev/v4l/by-id/usb-cam", "camera /dev/v4l/by-id/usb-cam", True),
        ("V4L2://3?width=640&height=480&fps=30&pixel_format=MJPG&exposure=500", "camera 3", True),
        ("csi://1?width=1920&height=1080", "CSI camera 1", True),
        ("rtsp://u:p@cam/stream?channel=1&width=7", "rtsp://cam/stream?channel=1&width=7", True),
        ("https://cam/video", "https://cam/video", True),
        ("http://cam/line.mp4", "http://cam/line.mp4", False),
        ("file:///data/my%20line.mp4?loop=1&start=2.5&pace=source", "/data/my line.mp4", False),
        ("file:///data/parts?watch=1&after=move", "/data/parts", False),
        ("is this a?question.mp4", "is this a?question.mp4", False),
    ],
)
def test_address_means(address: str, name: str, is_live: bool) -> None:
    source = source_from_uri(address)
    assert (source.name, source.is_live) == (name, is_live)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("v4l2://", "names no camera"),
        ("v4l2://front", "names no camera"),
        ("csi://x", "names no sensor"),
        ("basler://", "names no camera"),
        ("aravis://", "names no camera"),
        ("genicam://?Width=5", "names no camera"),
        ("genicam://0?watch=1", "watch has no effect"),
        ("v4l2://0?widht=3", "widht"),
        ("v4l2://0?width=wide", "width=wide"),
        ("v4l2://0?width=-3", "width must be above 0"),
        ("v4l2://0?pixel_format=MJPEG", "MJPEG"),
        ("v4l2://0?loop=1", "loop has no effect"),
        ("v4l2://0?hardware_trigger=Line1", "hardware_trigger has no effect"),
        ("csi://0?pixel_format=MJPG", "pixel_format has no effect"),
        ("file:///data/line.mp4?loop=perhaps", "loop=perhaps"),
        ("file:///data/line.mp4?pace=slow", "Unknown pace: slow"),
        ("file:///data/line.mp4?after=move", "after has no effect"),
        ("file:///data/line.mp4?start=nan", "start must be 0 or above"),
        ("file:///data/a.png?pace=source", "no frame rate"),
        ("http://[::1/video", "cannot be read"),
        ("gopher://host/line", "gopher"),
    ],
)
def test_mistake_in_an_address_is_one_line(address: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as failure:
        source_from_uri(address)
    assert "\n" not in str(failure.value)


def test_option_that_a_source_would_ignore_is_refused() -> None:
    for address in ("rtsp://cam/stream", "http://cam/video", "line.mp4"):
        with pytest.raises(UsageError, match="width has no effect"):
            source_from_uri(address, SourceOptions(width=640))
    with pytest.raises(UsageError, match="watch has no effect"):
        camera_source(0, SourceOptions(watch=True))
    source_from_uri("line.mp4", SourceOptions(max_outage_s=3))  # a limit that says nothing wrong about a file


def test_address_goes_before_the_options() -> None:
    options = with_query(SourceOptions(width=640, gain=2.0), {"width": "1280"})
    assert options == SourceOptions(width=1280, gain=2.0)
    source = source_from_uri("file:///data/line.mp4?loop=0", SourceOptions(loop=True))
    assert isinstance(source, VideoFileSource)
    assert not source._loop


_SCHEMES = ("", "v4l2://", "csi://", "basler://", "aravis://", "genicam://", "file://", "rtsp://", "http://")


@given(st.text(max_size=40), st.sampled_from(_SCHEMES))
def test_any_text_is_a_source_or_one_of_our_errors(text: str, scheme: str) -> None:
    with contextlib.suppress(EdgeAdError):
        assert source_from_uri(scheme + text).name


def test_sources_load_neither_torch_nor_the_camera_sdk() -> None:
    program = (
        "import sys; from edge_ad.streaming.sources import source_from_uri; source_from_uri('v4l2://0')\n"
        "import edge_ad.streaming.triggers, edge_ad.streaming.filters\n"
        "print([name for name in ('torch', 'pypylon', 'genicam', 'paho') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_camera_by_its_device_file_is_opened_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        "edge_ad.streaming.sources.camera.open_capture", lambda device, *_: asked.append(device) or None
    )
    with pytest.raises(EdgeAdError, match="/dev/v4l/by-id/x cannot be opened"):
        CameraSource("/dev/v4l/by-id/x").open()
    assert asked == ["/dev/v4l/by-id/x"]
