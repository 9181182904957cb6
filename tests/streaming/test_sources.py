"""Every kind of source, and what it says when it cannot be used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.mjpeg_camera import MjpegCamera
from edge_ad.errors import DataError, DeviceError, UsageError
from edge_ad.streaming.sources import Source, SourceOptions, camera_source, source_from_uri
from edge_ad.streaming.sources.ffmpeg_sources import NetworkSource
from edge_ad.streaming.sources.reconnecting import ReconnectingSource
from tests.streaming.fakes import FakeSource
from tests.streaming.results import PATIENCE_S


def _all_frames(source: Source) -> list[NDArray[np.uint8]]:
    frames = []
    with source:
        while (image := source.read()) is not None:
            frames.append(image)
    return frames


def _read_until_end(source: Source) -> None:
    while source.read() is not None:
        pass


def test_video_file_gives_every_frame_in_order(make_video: Callable[..., Path]) -> None:
    source = source_from_uri(str(make_video(5)))
    assert not source.is_live
    frames = _all_frames(source)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    assert np.abs([frame.mean() - 20 * number for number, frame in enumerate(frames)]).max() < 4


def test_video_file_names_its_frame_rate(make_video: Callable[..., Path]) -> None:
    with source_from_uri(str(make_video(5, fps=10))) as source:
        assert source.fps == pytest.approx(10.0)
    assert source.fps is None


def test_video_whose_frames_are_larger_than_the_limit_is_refused(
    make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = str(make_video(5))
    monkeypatch.setenv("EDGE_AD_MAX_IMAGE_PIXELS", str(48 * 64 - 1))
    with pytest.raises(DataError, match="64 × 48 pixels"), source_from_uri(video):
        pass


@pytest.mark.parametrize("content", [b"", b"not a video" * 100])
def test_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.mp4"), source_from_uri(str(path)):
        pass


@pytest.mark.parametrize("name", ["gone.mp4", "gone.png", "gone"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"No such file.*{name}"), source_from_uri(str(tmp_path / name)):
        pass


def test_folder_gives_its_images_sorted_and_nothing_else(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"part_{number}.png"), np.full((4, 4, 3), 10 * number, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    frames = _all_frames(source_from_uri(str(tmp_path)))
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 10, 20]


def test_damaged_image_of_a_folder_is_counted_and_the_folder_goes_on(tmp_path: Path) -> None:
    for number in (0, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 4, 3), 10 * number, np.uint8))
    (tmp_path / "1.png").write_bytes(b"")
    source = source_from_uri(str(tmp_path))
    assert [int(frame[0, 0, 0]) for frame in _all_frames(source)] == [0, 20]
    assert (source.corrupt, list(source.corrupt_names)) == (1, ["1.png"])
    assert "1.png" in source.notes[0]


def test_what_a_folder_of_images_leaves_out_is_told_and_a_system_is_nobodys_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "part.png"), np.full((4, 4, 3), 10, np.uint8))
    for name in ("._part.png", "Thumbs.db", "a.jp2", "b.jp2"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    for name in ("@eaDir", ".ipynb_checkpoints", "line2"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "part.png"), np.full((4, 4, 3), 99, np.uint8))
    source = source_from_uri(str(tmp_path))
    assert len(_all_frames(source)) == 1
    (note,) = source.notes
    assert "2 of ending .jp2" in note
    assert "1 photos in the folders inside it (line2)" in note


def test_looping_folder_whose_images_all_became_unreadable_ends_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    cv2.imwrite(str(path), np.full((4, 4, 3), 10, np.uint8))
    with source_from_uri(f"file://{tmp_path}?loop=1") as source:
        assert source.read() is not None
        path.write_bytes(b"")
        with pytest.raises(DataError, match=r"part\.png"):
            source.read()


def test_folder_without_one_image_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DataError, match=r"damaged\.png"):
        _all_frames(source_from_uri(str(tmp_path)))


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"), source_from_uri(str(tmp_path)):
        pass


def test_camera_that_is_not_there_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="Camera 63"), camera_source(63):
        pass


def test_negative_camera_and_unknown_address_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="camera -1"):
        camera_source(-1)
    with pytest.raises(UsageError, match="gopher"):
        source_from_uri("gopher://host/line")


def test_http_address_of_a_video_file_is_read_as_a_file() -> None:
    assert not source_from_uri("http://host/line.mp4?part=1").is_live
    assert source_from_uri("http://host/mjpeg").is_live


def test_password_of_a_stream_is_neither_shown_nor_recorded() -> None:
    source = source_from_uri("rtsp://user:secret@camera.local:554/stream")
    assert source.name == "rtsp://camera.local:554/stream"


def test_stream_that_refuses_is_a_device_error_without_its_password() -> None:
    with pytest.raises(DeviceError) as failure, source_from_uri("http://user:secret@127.0.0.1:9/video"):
        pass
    assert "secret" not in str(failure.value)


def test_stream_that_is_silent_times_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(DeviceError), NetworkSource(f"http://127.0.0.1:{listener.getsockname()[1]}/video"):
            pass


def test_failures_leave_stderr_to_us(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"not a video" * 100)
    program = f"""
from edge_ad.errors import EdgeAdError
from edge_ad.streaming.sources import camera_source, source_from_uri
for source in (camera_source(63), source_from_uri({str(path)!r}), source_from_uri("http://127.0.0.1:9/video")):
    try:
        source.open()
    except EdgeAdError as error:
        print(type(error).__name__)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,
        env=environment,
        check=True,
    )
    assert done.stdout.split() == ["DeviceError", "DataError", "DeviceError"]
    assert done.stderr == ""


def test_live_source_comes_back_and_the_gap_is_recorded(mjpeg_camera: MjpegCamera) -> None:
    source = source_from_uri(mjpeg_camera.url)
    with source:
        assert source.read() is not None
        mjpeg_camera.stop()
        restart = threading.Timer(1.2, mjpeg_camera.start)
        restart.start()
        while source.gaps.reconnects == 0:
            assert source.read() is not None
        restart.join()
    assert (source.gaps.count, source.gaps.reconnects) == (1, 1)
    assert 0.0 < source.gaps.newest[0].seconds < PATIENCE_S


def test_outage_longer_than_allowed_is_a_device_error(mjpeg_camera: MjpegCamera) -> None:
    source = source_from_uri(mjpeg_camera.url, SourceOptions(max_outage_s=0.5))
    with source:
        assert source.read() is not None
        mjpeg_camera.stop()
        with pytest.raises(DeviceError, match="gone for"):
            _read_until_end(source)
    assert (source.gaps.count, source.gaps.reconnects) == (1, 0)


def test_waiting_for_a_source_can_be_cancelled() -> None:
    source = ReconnectingSource(FakeSource(1, is_live=True))
    source._source.open = lambda: None  # type: ignore[method-assign]  # so that it never has another frame
    with source:
        source.read()
        threading.Timer(0.3, source.cancel).start()
        assert source.read() is None
    assert source.gaps.count == 1
    assert source.gaps.newest[0].seconds < 3


def test_frame_cut_off_by_a_broken_connection_is_not_delivered() -> None:
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(
                b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
                + 3 * (head + jpeg + b"\r\n")
                + head
                + jpeg[: len(jpeg) // 2]
            )

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        assert len(_all_frames(NetworkSource(f"http://127.0.0.1:{listener.getsockname()[1]}/video"))) == 3
        server.join(5)
