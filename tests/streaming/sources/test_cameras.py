"""V4L2 and CSI cameras, held to what OpenCV and GStreamer are told: there is no such camera where tests run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources import SourceOptions, camera_source
from edge_ad.streaming.sources.camera import CameraSource, CsiSource, csi_pipeline

_IMAGE = np.zeros((4, 4, 3), np.uint8)


class FakeCapture:
    """A driver that knows some sizes and hands out frames with time stamps; None is a frame it cannot decode."""

    def __init__(self, frames: list[tuple[float, NDArray[np.uint8] | None]]) -> None:
        self.frames, self.set_order = frames, list[int]()
        self.values: dict[int, float] = {}
        self.image: NDArray[np.uint8] | None = None

    def set(self, prop: int, value: float) -> bool:
        self.set_order.append(prop)
        limits = {cv2.CAP_PROP_FRAME_WIDTH: 1280.0, cv2.CAP_PROP_EXPOSURE: 300.0}
        self.values[prop] = min(value, limits.get(prop, value))
        return True

    def get(self, prop: int) -> float:
        return self.values.get(prop, 0.0)

    def grab(self) -> bool:
        if not self.frames:
            return False
        self.values[cv2.CAP_PROP_POS_MSEC], self.image = self.frames.pop(0)
        return True

    def retrieve(self) -> tuple[bool, NDArray[np.uint8] | None]:
        return self.image is not None, self.image

    def release(self) -> None:
        pass


def _camera(
    monkeypatch: pytest.MonkeyPatch, capture: FakeCapture, options: SourceOptions | None = None
) -> CameraSource:
    monkeypatch.setattr("edge_ad.streaming.sources.camera.open_capture", lambda *_: capture)
    return CameraSource(0, options)


def test_settings_go_in_the_order_drivers_want_and_what_was_not_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.streaming.sources.camera.sys.platform", "linux")
    capture = FakeCapture([])
    options = SourceOptions(width=1920, height=720, fps=60, pixel_format="mjpg", exposure_us=5000, gain=3)
    with _camera(monkeypatch, capture, options) as source:
        assert list(source.notes) == ["camera 0 did not take width 1920: it is 1280."]
    assert capture.set_order == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
        cv2.CAP_PROP_AUTO_EXPOSURE,
        cv2.CAP_PROP_EXPOSURE,
        cv2.CAP_PROP_GAIN,
    ]
    assert capture.values[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert capture.values[cv2.CAP_PROP_EXPOSURE] == 50  # steps of 100 µs


def test_nothing_is_set_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture([])
    with _camera(monkeypatch, capture):
        assert capture.set_order == []


def test_repeated_and_undecodable_frames_are_counted_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture([(10.0, _IMAGE), (10.0, _IMAGE), (20.0, None), (30.0, _IMAGE)])
    with _camera(monkeypatch, capture) as source:
        assert [source.read() is not None for _ in range(3)] == [True, True, False]
        assert (source.duplicates, source.corrupt) == (1, 1)


def test_driver_without_time_stamps_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with _camera(monkeypatch, FakeCapture([(0.0, _IMAGE)] * 3)) as source:
        assert all(source.read() is not None for _ in range(3))
        assert source.duplicates == 0


def test_camera_that_sends_only_damage_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with _camera(monkeypatch, FakeCapture([(float(n), None) for n in range(1, 500)])) as source:
        assert source.read() is None
        assert source.corrupt == 100


def test_camera_takes_settings_from_the_command_line() -> None:
    with pytest.raises(DeviceError, match="Camera 63"), camera_source(63, SourceOptions(width=640)):
        pass


def test_csi_pipeline_asks_the_sensor_and_ends_in_the_newest_bgr_frame() -> None:
    pipeline = csi_pipeline(1, SourceOptions(width=1920, height=1080, fps=29.97, exposure_us=2500, gain=4))
    steps = [step.strip() for step in pipeline.split(" ! ")]
    assert steps[0] == 'nvarguscamerasrc sensor-id=1 exposuretimerange="2500000 2500000" gainrange="4 4"'
    assert steps[1] == (
        "video/x-raw(memory:NVMM), width=(int)1920, height=(int)1080, format=(string)NV12, framerate=(fraction)2997/100"
    )
    assert [step.partition(" ")[0] for step in steps[2:]] == [
        "nvvidconv",
        "video/x-raw,",
        "videoconvert",
        "video/x-raw,",
        "appsink",
    ]
    assert "BGRx" in steps[3]
    assert steps[5].endswith("format=(string)BGR")
    assert {"drop=true", "max-buffers=1"} <= set(steps[6].split())


def test_csi_camera_leaves_automatic_what_was_not_asked_for() -> None:
    pipeline = csi_pipeline(0, SourceOptions())
    assert "range" not in pipeline
    assert "width=(int)1280, height=(int)720" in pipeline
    assert "30/1" in pipeline


def test_csi_camera_without_gstreamer_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.videoio_registry.getBackends", lambda: (cv2.CAP_FFMPEG,))
    with pytest.raises(DeviceError, match="without GStreamer"), CsiSource(0):
        pass


def test_csi_camera_is_opened_through_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("cv2.videoio_registry.getBackends", lambda: (cv2.CAP_GSTREAMER,))
    monkeypatch.setattr("edge_ad.streaming.sources.camera.open_capture", lambda *given: asked.append(given) or None)
    with pytest.raises(DeviceError, match="CSI camera 0 cannot be opened"), CsiSource(0):
        pass
    assert asked == [(csi_pipeline(0, SourceOptions()), cv2.CAP_GSTREAMER, {})]
