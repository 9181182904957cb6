"""What FFmpeg reads for us: RTSP, and what HTTP carries besides MJPEG."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources import source_from_uri
from edge_ad.streaming.sources.http_stream import HttpSource
from tests.streaming.fakes import write_h264
from tests.streaming.sources.rtsp_server import RtspCamera
from tests.streaming.sources.scripted_server import serving


def test_rtsp_camera_is_read_and_comes_back() -> None:
    camera = RtspCamera()
    camera.start()
    try:
        with source_from_uri(camera.url) as source:
            images = [source.read() for _ in range(10)]
            assert {round(float(image.mean()) / 40) for image in images if image is not None} == {1, 2, 3, 4, 5}
            camera.stop()
            threading.Timer(0.5, camera.start).start()
            while source.gaps.reconnects == 0:
                assert source.read() is not None
        assert (source.gaps.count, source.gaps.reconnects) == (1, 1)
    finally:
        camera.stop()


def test_rtsp_camera_that_is_off_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match=r"rtsp://127\.0\.0\.1:9/line does not answer"):
        source_from_uri("rtsp://user:secret@127.0.0.1:9/line").open()


def test_transport_stream_over_http_is_read_by_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "line.ts"
    write_h264(path, 6, (48, 64), 10)
    answer = (b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n", path.read_bytes())
    with serving(answer, answer) as url, HttpSource(url) as source:
        frames = []
        while (image := source.read()) is not None:
            frames.append(round(float(image.mean()) / 20))
    assert frames == [0, 1, 2, 3, 4, 5]
