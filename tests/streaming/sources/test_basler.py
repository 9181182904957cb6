"""Basler cameras through pylon's own emulation: the SDK is real, only the sensor is not."""

from __future__ import annotations

import shutil
import threading
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.errors import DeviceError, MissingDependencyError, UsageError
from edge_ad.images import read_image
from edge_ad.streaming.sources import Source, SourceOptions, source_from_uri
from edge_ad.streaming.sources.base import CameraSettings, FrameNumbers
from edge_ad.streaming.sources.basler import BaslerSource


@pytest.fixture(autouse=True)
def emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two emulated cameras, 0815-0000 and 0815-0001."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the bindings' generator, on import
        pytest.importorskip("pypylon.pylon", reason="pypylon brings the emulated cameras")
    monkeypatch.setenv("PYLON_CAMEMU", "2")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three grey pictures that an emulated camera shows in turn."""
    for number, grey in enumerate((40, 120, 200)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((96, 128, 3), grey, np.uint8))
    return tmp_path


def _showing(folder: Path, query: str = "") -> str:
    return f"basler://0?{query}&pixel_format=BGR8&ImageFilename={folder}&ImageFileMode=On&TestImageSelector=Off"


def _inner(source: Source) -> BaslerSource:
    inner = source._source  # type: ignore[attr-defined]
    assert isinstance(inner, BaslerSource)
    return inner


def test_camera_is_found_by_number_and_by_serial_number() -> None:
    for address in ("basler://1", "basler://0815-0001"):
        with source_from_uri(address) as source:
            camera = _inner(source)._camera
            assert camera.GetDeviceInfo().GetSerialNumber() == "0815-0001"


def test_camera_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(DeviceError, match="no Basler camera 40012345") as failure, source_from_uri("basler://40012345"):
        pass
    assert "0815-0000" in failure.value.hint


def test_settings_reach_the_camera_and_one_it_did_not_take_is_told_in_one_line() -> None:
    options = SourceOptions(width=640, height=480, fps=50.0, exposure_us=2000.0, gain=1e4)
    with source_from_uri("basler://0?pixel_format=mono8", options) as source:
        image = source.read()
        assert image is not None
        assert image.shape == (480, 640, 3)
        assert image.dtype == np.uint8
        nodes = _inner(source)._camera.GetNodeMap()
        values = [nodes.GetNode(name).GetValue() for name in ("ExposureTime", "AcquisitionFrameRate")]
        assert values == [2000.0, 50.0]
        assert source.fps == pytest.approx(50, rel=0.2)
    assert len(source.notes) == 1
    assert source.notes[0].startswith("Basler camera 0 did not take Gain 10000: it is ")


@pytest.mark.parametrize(
    ("query", "named"),
    [("pixel_format=XYZ", "XYZ"), ("NoSuch=1", "NoSuch"), ("Width=none", "Width"), ("wide=1", "wide")],
)
def test_setting_that_the_camera_does_not_know_is_a_usage_error(query: str, named: str) -> None:
    with pytest.raises(UsageError, match=named), source_from_uri(f"basler://0?{query}"):
        pass


def test_feature_that_is_not_there_is_answered_with_the_nearest_names_and_a_wrong_value_with_the_range() -> None:
    for query, hint in (("ExposureTme=5", "It has: ExposureTime"), ("Width=5000000", "Possible: 1 to ")):
        with pytest.raises(UsageError) as failure, source_from_uri(f"basler://0?{query}"):
            pass
        assert failure.value.hint.startswith(hint)


@pytest.mark.parametrize("pixel_format", ["Mono8", "BGR8", "RGB8", "BayerRG8", "Mono12"])
def test_every_pixel_format_comes_as_bgr(pixel_format: str) -> None:
    with source_from_uri(f"basler://0?width=64&height=48&pixel_format={pixel_format}") as source:
        image = source.read()
    assert image is not None
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)


def test_frames_are_numbered_and_what_was_not_fetched_in_time_is_missed() -> None:
    with source_from_uri("basler://0?width=64&height=48&fps=100") as source:
        for _ in range(5):
            assert source.read() is not None
        time.sleep(0.3)
        fetched = 5
        while source.missed < 10:
            assert source.read() is not None
            fetched += 1
        assert source.source_count == fetched + source.missed


def test_incomplete_frames_are_skipped_and_counted() -> None:
    with source_from_uri("basler://0?width=64&height=48&fps=200") as source:
        assert source.read() is not None
        nodes = _inner(source)._camera.GetNodeMap()
        nodes.GetNode("ForceFailedBufferCount").SetValue(3)
        nodes.GetNode("ForceFailedBuffer").Execute()
        frames = 1
        while source.corrupt < 3 and frames < 100:
            assert source.read() is not None
            frames += 1
        assert source.corrupt == 3
        assert source.source_count == frames + source.corrupt + source.missed + source.duplicates


@pytest.mark.parametrize(
    "trigger", ["hardware_trigger=Software", "TriggerSelector=FrameStart&TriggerSource=Software&TriggerMode=On"]
)
def test_camera_with_a_trigger_waits_for_it_and_is_not_lost(trigger: str) -> None:
    with source_from_uri(f"basler://0?width=64&height=48&{trigger}") as source:
        camera = _inner(source)._camera
        fire = camera.GetNodeMap().GetNode("TriggerSoftware").Execute
        started = time.perf_counter()
        threading.Timer(2.5, fire).start()
        assert source.read() is not None
        assert time.perf_counter() - started >= 2.3
        assert source.gaps.count == 0
        for _ in range(3):  # faster than they are fetched: each is a part
            camera.WaitForFrameTriggerReady(10_000)  # a camera drops a trigger while it is busy with the last one
            fire()
        assert all(source.read() is not None for _ in range(3))
        assert (source.source_count, source.missed) == (4, 0)
        threading.Timer(0.2, source.cancel).start()
        assert source.read() is None


def test_camera_that_is_unplugged_comes_back(monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    def plug_in() -> None:
        monkeypatch.setenv("PYLON_CAMEMU", "2")

    with source_from_uri(_showing(pictures, "fps=100")) as source:
        for _ in range(3):
            monkeypatch.setenv("PYLON_CAMEMU", "0")
            _inner(source)._camera.DestroyDevice()
            threading.Timer(0.4, plug_in).start()
            image = source.read()
            assert image is not None
            assert image.shape == (96, 128, 3)  # the settings are set again
        assert (source.gaps.count, source.gaps.reconnects) == (3, 3)


def test_camera_that_another_program_holds_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    source = BaslerSource(0)

    def refuse(*_: object) -> None:
        raise source._genicam.RuntimeException("The device is controlled by another application.")

    monkeypatch.setattr(source._pylon.InstantCamera, "Open", refuse)
    with pytest.raises(DeviceError, match="another application") as failure:
        source.open()
    assert "no other program" in failure.value.hint


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypylon.pylon", None)
    with pytest.raises(MissingDependencyError, match=r"edge-ad\[basler\]"):
        source_from_uri("basler://0")


@pytest.fixture
def product_images(data_root: Path) -> list[Path]:
    return sorted((data_root / "metal_plate" / "test" / "good").glob("*.jpg"))[:10]


@pytest.mark.data
def test_product_images_come_through_the_camera_as_they_are(product_images: list[Path], tmp_path: Path) -> None:
    for path in product_images:
        shutil.copy(path, tmp_path)
    expected = {read_image(path).tobytes() for path in product_images}
    with source_from_uri(_showing(tmp_path, "fps=100")) as source:
        seen = set()
        for _ in range(60):
            image = source.read()
            assert image is not None
            seen.add(image.tobytes())
            if seen == expected:
                break
    assert seen == expected


@pytest.mark.parametrize(
    ("numbers", "count", "missed"),
    [
        ([0, 1, 2], 3, 0),
        ([7, 8, 11], 5, 2),  # what was before the first is not known
        ([65534, 65535, 1, 2], 4, 0),  # GigE Vision starts again at 1
        ([65533, 2], 5, 3),
        ([500, 1, 2], 3, 0),  # the camera itself started again
    ],
)
def test_frame_numbers_say_how_many_were_made_and_missed(numbers: list[int], count: int, missed: int) -> None:
    frames = FrameNumbers()
    for number in numbers:
        frames.see(number)
    assert (frames.count, frames.missed) == (count, missed)
    frames.restart()
    frames.see(9000)
    assert (frames.count, frames.missed) == (count + 1, missed)


def test_exposure_of_a_running_camera_is_changed_exactly_or_not_at_all() -> None:
    with source_from_uri("basler://0?width=64&height=48", SourceOptions(exposure_us=2000.0)) as source:
        assert source.read() is not None
        exposure = _inner(source)._camera.GetNodeMap().GetNode("ExposureTime")
        source.change(CameraSettings(exposure_us=5000.0))
        assert exposure.GetValue() == pytest.approx(5000.0)
        with pytest.raises(UsageError, match="did not take ExposureTime"):
            source.change(CameraSettings(exposure_us=1e12))
        assert exposure.GetValue() == pytest.approx(5000.0)
        assert source.read() is not None
