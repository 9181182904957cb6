"""GenICam cameras over a double of the library that reaches them: order, counts, settings, loss and return."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edge_ad.errors import DeviceError, UsageError
from edge_ad.streaming.sources.base import CameraSettings
from edge_ad.streaming.sources.genicam import GenicamSource
from edge_ad.streaming.sources.genicam_driver import Buffer, FoundCamera
from edge_ad.streaming.sources.genicam_features import Feature, FeatureRefusedError
from edge_ad.streaming.sources.options import SourceOptions
from edge_ad.streaming.sources.pixel_formats import format_of_name
from edge_ad.streaming.sources.reconnecting import ReconnectingSource

_FEATURES = (
    (Feature("PixelFormat", "enumeration", True, choices=("Mono8", "Mono12", "BayerRG8", "Mono12Packed")), "Mono8"),
    (Feature("Width", "integer", True, 16, 640, 16), "64"),
    (Feature("OffsetX", "integer", True, 0, 0, 16), "0"),
    (Feature("ExposureTime", "float", True, 20.0, 1e6), "10000.0"),
    (Feature("ExposureAuto", "enumeration", True, choices=("Off", "Continuous")), "Continuous"),
    (Feature("AcquisitionFrameRate", "float", True, 1.0, 100.0), "30.0"),
    (Feature("ReverseX", "boolean", True), "0"),
    (Feature("TriggerSelector", "enumeration", True, choices=("FrameStart", "FrameBurstStart")), "FrameBurstStart"),
    (Feature("TriggerSource", "enumeration", True, choices=("Line0", "Line1", "Software")), "Line0"),
    (Feature("TriggerMode", "enumeration", True, choices=("Off", "On")), "Off"),
    (Feature("UserSetLoad", "command", True), ""),
    (Feature("DeviceTemperature", "float", False, -40.0, 120.0), "41.5"),
    (Feature("GevSCPD", "integer", True, 0, 2**63 - 1, 1), "0"),
)
_CHUNKS = (
    (Feature("ChunkModeActive", "boolean", True), "0"),
    (Feature("ChunkSelector", "enumeration", True, choices=("Timestamp", "FrameID")), "Timestamp"),
    (Feature("ChunkEnable", "boolean", True), "0"),
)


class FakeFeatures:
    def __init__(self, features: Sequence[tuple[Feature, str]], refused: dict[str, str]) -> None:
        self.known = {feature.name: feature for feature, _ in features}
        self.values = {feature.name: value for feature, value in features}
        self.refused = refused
        self.done: list[tuple[str, str]] = []

    def names(self) -> Sequence[str]:
        return list(self.known)

    def find(self, name: str) -> Feature | None:
        return self.known.get(name)

    def value(self, name: str) -> str | None:
        return self.values.get(name)

    def set(self, name: str, value: str) -> None:
        if name in self.refused:
            raise FeatureRefusedError(self.refused[name])
        self.values[name] = value
        self.done.append((name, value))

    def run(self, name: str) -> None:
        self.done.append((name, "run"))


@dataclass
class FakeConnection:
    features: FakeFeatures
    waiting: deque[Buffer] = field(default_factory=deque)
    chunk_numbers: dict[int, int] = field(default_factory=dict)
    buffers: int = 4
    lost: bool = False
    held: int = 0
    is_closed: bool = False
    when_empty: Callable[[], None] = lambda: None
    can_close: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        assert not self.is_closed

    def fetch(self, timeout_s: float, cancelled: threading.Event) -> Buffer | None:
        if not self.waiting and timeout_s:
            self.when_empty()
        if not self.waiting:
            return None
        self.held += 1
        return self.waiting.popleft()

    def chunk(self, buffer: Buffer, name: str) -> int | None:
        assert name == "ChunkFrameID"
        return self.chunk_numbers.get(buffer.handle)

    def release(self, buffer: Buffer) -> None:
        self.held -= 1

    def is_lost(self) -> bool:
        return self.lost

    def close(self) -> None:
        self.can_close.wait()
        self.is_closed = True


class FakeDriver:
    nothing_found = "Plug one in."

    def __init__(self, *serials: str, chunks: bool = False, refused: dict[str, str] | None = None) -> None:
        self.serials = list(serials or ("A1", "B2"))
        self.features = FakeFeatures(_FEATURES + _CHUNKS * chunks, refused or {})
        self.opened: list[str] = []
        self.closes = True
        self.prepare: Callable[[FakeConnection], None] = lambda connection: None
        self.newest = FakeConnection(self.features)

    def find(self) -> Sequence[FoundCamera]:
        return [FoundCamera(serial, "Maker Model", serial) for serial in self.serials]

    def connect(self, camera: FoundCamera) -> FakeConnection:
        self.opened.append(camera.serial)
        self.newest = FakeConnection(self.features)
        if self.closes:
            self.newest.can_close.set()
        self.prepare(self.newest)
        return self.newest


def _frame(number: int | None, grey: int = 90, *, is_complete: bool = True, handle: int = 0) -> Buffer:
    data = np.full(4 * 6, grey, np.uint8)
    return Buffer(number, is_complete, format_of_name("Mono8"), (4, 6), 0, data, handle)


def _source(driver: FakeDriver, camera: int | str = 0, **features: str) -> GenicamSource:
    return GenicamSource(driver, "test camera", camera, features=features)


def _opened(
    driver: FakeDriver, *frames: Buffer, options: SourceOptions | None = None, **features: str
) -> GenicamSource:
    driver.prepare = lambda connection: connection.waiting.extend(frames)
    source = GenicamSource(driver, "test camera", 0, options, features)
    source.open()
    return source


def test_the_newest_frame_is_given_and_those_before_it_are_missed() -> None:
    driver = FakeDriver()
    source = _opened(driver, _frame(7, 10), _frame(8, 20), _frame(11, 30))
    image = source.read()
    assert image is not None
    assert (image.shape, int(image[0, 0, 0])) == ((4, 6, 3), 30)
    assert (source.source_count, source.missed, source.corrupt) == (1, 0, 0)  # what was before the first is not known
    driver.newest.waiting.extend([_frame(12), _frame(14, 50)])
    assert source.read() is not None
    assert (source.source_count, source.missed) == (4, 2)
    assert driver.newest.held == 0


def test_where_all_memory_was_full_the_frame_after_it_is_the_newest() -> None:
    driver = FakeDriver()
    source = _opened(driver, *(_frame(number, 10 * number) for number in range(1, 5)))
    driver.newest.when_empty = lambda: driver.newest.waiting.append(_frame(19, 200))
    image = source.read()
    assert image is not None
    assert image[0, 0, 0] == 200


def test_incomplete_frames_are_counted_and_the_complete_one_among_them_is_given() -> None:
    driver = FakeDriver()
    source = _opened(driver, _frame(1, 10), _frame(2, is_complete=False))
    image = source.read()
    assert image is not None
    assert image[0, 0, 0] == 10
    driver.newest.waiting.extend([_frame(3, is_complete=False), _frame(6)])
    assert source.read() is not None
    assert (source.source_count, source.corrupt, source.missed) == (6, 2, 2)
    assert driver.newest.held == 0


def test_frames_without_a_number_are_counted_all_the_same() -> None:
    driver = FakeDriver()
    source = _opened(driver, _frame(None, 10), _frame(None, is_complete=False), _frame(None, 30))
    image = source.read()
    assert image is not None
    assert image[0, 0, 0] == 30
    assert (source.source_count, source.corrupt, source.missed) == (3, 1, 1)


def test_every_frame_of_a_trigger_is_given_and_silence_is_no_outage() -> None:
    driver = FakeDriver()
    source = _opened(driver, _frame(1, 10), _frame(2, 20), options=SourceOptions(hardware_trigger="line1"))
    values = driver.features.values
    assert [values[name] for name in ("TriggerSelector", "TriggerSource", "TriggerMode")] == [
        "FrameStart",
        "Line1",
        "On",
    ]
    assert source.fps is None
    images = [source.read(), source.read()]
    assert [int(image[0, 0, 0]) for image in images if image is not None] == [10, 20]
    waits = iter(range(40))

    def wait() -> None:  # four seconds, were it a camera
        if next(waits) == 39:
            driver.newest.waiting.append(_frame(3, 30))

    driver.newest.when_empty = wait
    assert source.read() is not None
    assert (source.source_count, source.missed) == (3, 0)


def test_a_trigger_that_features_switch_on_is_one_too() -> None:
    assert _opened(FakeDriver(), TriggerSource="Software", TriggerMode="On").fps is None
    assert _opened(FakeDriver()).fps == 30.0


def test_the_cameras_own_frame_number_goes_before_that_of_the_transport() -> None:
    driver = FakeDriver(chunks=True)
    source = _opened(driver, _frame(1, handle=1))
    assert [driver.features.values[name] for name in ("ChunkModeActive", "ChunkSelector", "ChunkEnable")] == [
        *("1", "FrameID", "1")
    ]
    driver.newest.chunk_numbers = {1: 100, 2: 103}
    assert source.read() is not None
    driver.newest.waiting.extend([_frame(2, is_complete=False), _frame(3, handle=2)])
    assert source.read() is not None
    assert (source.source_count, source.corrupt, source.missed) == (4, 1, 1)


def test_a_camera_that_offers_its_frame_number_and_sends_none_is_counted_by_the_transport() -> None:
    driver = FakeDriver(chunks=True)
    source = _opened(driver, _frame(5))
    assert source.read() is not None
    driver.newest.waiting.append(_frame(8))
    assert source.read() is not None
    assert (source.source_count, source.missed) == (4, 2)


def test_chunk_data_that_the_user_sets_is_left_alone() -> None:
    driver = FakeDriver(chunks=True)
    _opened(driver, ChunkModeActive="0")
    assert driver.features.done == [("ChunkModeActive", "0")]


def test_options_go_to_the_nearest_value_and_features_follow_in_their_order() -> None:
    driver = FakeDriver()
    options = SourceOptions(pixel_format="mono12", width=100, exposure_us=5.0, fps=50.0)
    source = _opened(driver, options=options, ReverseX="on", UserSetLoad="1", GevSCPD="0x20")
    assert driver.features.done == [
        ("PixelFormat", "Mono12"),
        ("OffsetX", "0"),
        ("Width", "96"),
        ("ExposureAuto", "Off"),
        ("ExposureTime", "20.0"),
        ("AcquisitionFrameRate", "50.0"),
        ("ReverseX", "1"),
        ("UserSetLoad", "run"),
        ("GevSCPD", "32"),
    ]
    assert list(source.notes) == [
        "test camera 0 did not take Width 100: it is 96 (possible: 16 to 640).",
        "test camera 0 did not take ExposureTime 5: it is 20 (possible: 20 to 1e+06).",
    ]


@pytest.mark.parametrize(
    ("feature", "value", "message", "hint"),
    [
        ("ExposureTme", "5", "has no feature ExposureTme", "It has: ExposureTime"),
        ("exposure", "5", "has no feature exposure", "ExposureTime"),
        ("Qqq", "5", "has no feature Qqq", "It has 13 features, none with such a name."),
        ("ExposureTime", "5", "does not take 5 for ExposureTime", "Possible: 20 to 1000000."),
        ("ExposureTime", "nan", "does not take nan", "Possible: 20"),
        ("ExposureTime", "", "does not take an empty text", "Possible: 20"),
        ("Width", "100", "does not take 100 for Width", "Possible: 16 to 640, in steps of 16."),
        ("Width", "64.5", "does not take 64.5", "in steps of 16"),
        ("ReverseX", "maybe", "does not take maybe", "0 or 1"),
        ("TriggerSource", "Line01", "has no TriggerSource Line01", "It has: Line1, Line0, Software."),
        ("PixelFormat", "RGB12", "has no PixelFormat RGB12", "It has: Mono8, Mono12,"),
        ("DeviceTemperature", "20", "does not let DeviceTemperature be set now. It is 41.5.", "lock"),
        ("GevSCPD", "-1", "does not take -1", ""),
    ],
)
def test_a_mistake_in_a_feature_is_one_line_with_what_would_be_right(
    feature: str, value: str, message: str, hint: str
) -> None:
    driver = FakeDriver()
    with pytest.raises(UsageError) as failure:
        _opened(driver, **{feature: value})
    assert failure.value.message.startswith("test camera 0 ")
    assert message in failure.value.message
    assert hint in failure.value.hint
    assert "\n" not in str(failure.value)
    assert driver.newest.is_closed


def test_a_value_that_the_camera_refuses_for_a_reason_of_its_own_is_told_with_it() -> None:
    driver = FakeDriver(refused={"ExposureTime": "the sensor is busy."})
    with pytest.raises(UsageError, match="does not take 500 for ExposureTime: the sensor is busy"):
        _opened(driver, ExposureTime="500")
    source = _opened(driver, options=SourceOptions(exposure_us=500))
    assert list(source.notes) == ["test camera 0 did not take ExposureTime 500: the sensor is busy."]


def test_settings_that_are_refused_or_taken_back_leave_the_camera_as_it_was() -> None:
    driver = FakeDriver()
    source = _opened(driver)  # exposes as it finds right
    before = dict(driver.features.values)
    with pytest.raises(UsageError, match="has no Gain to set"):
        source.change(CameraSettings(exposure_us=500.0, gain=3.0))
    assert driver.features.values == before
    take_back = source.change(CameraSettings(exposure_us=500.0))
    assert driver.features.values["ExposureTime"] == "500.0"
    take_back()
    assert driver.features.values == before


def test_a_pixel_format_that_is_not_read_names_those_of_the_camera_that_are() -> None:
    driver = FakeDriver()
    driver.features.values["PixelFormat"] = "Coord3D_ABC32f"
    with pytest.raises(UsageError, match="sends Coord3D_ABC32f, which is not read here") as failure:
        _opened(driver)
    assert "Mono8, Mono12, BayerRG8, Mono12Packed" in failure.value.hint


@pytest.mark.parametrize(
    ("bits", "pixel_format", "is_taken"), [(12, "Mono12", True), (12, "Mono8", False), (8, "Mono12", True)]
)
def test_frames_of_the_depth_that_was_trained_on_are_taken(bits: int, pixel_format: str, is_taken: bool) -> None:
    source = GenicamSource(FakeDriver(), "test camera", 0, SourceOptions(pixel_format=pixel_format))
    source.expect_bits(bits, takes_8_bits=False)
    if is_taken:
        source.open()
        return
    with pytest.raises(UsageError, match="use 12 bits, and Mono8 of test camera 0 has 8"):
        source.open()
    source.expect_bits(bits, takes_8_bits=True)
    source.open()


def test_a_camera_is_found_by_number_and_by_serial_number() -> None:
    driver = FakeDriver("A1", "B2")
    for camera in (1, "B2"):
        _source(driver, camera).open()
    assert driver.opened == ["B2", "B2"]
    with pytest.raises(DeviceError, match="no test camera 7") as failure:
        _source(driver, 7).open()
    assert failure.value.hint == "There are: 0 (A1, Maker Model), 1 (B2, Maker Model)."
    driver.serials.clear()
    with pytest.raises(DeviceError, match="no test camera 0") as failure:
        _source(driver).open()
    assert failure.value.hint == "Plug one in."


def test_a_camera_that_falls_out_is_found_again_by_its_serial_number() -> None:
    driver = FakeDriver("A1", "B2")
    driver.prepare = lambda connection: connection.waiting.append(_frame(500))
    source = ReconnectingSource(_source(driver, 1))
    source.open()
    assert source.read() is not None
    driver.newest.lost = True
    driver.serials = ["Z9", "A1", "B2"]  # another one has its number now
    assert source.read() is not None
    assert driver.opened == ["B2", "B2"]
    assert (source.gaps.count, source.gaps.reconnects, source.source_count, source.missed) == (1, 1, 2, 0)


def test_a_camera_that_fails_while_it_is_read_is_lost_and_no_error() -> None:
    driver = FakeDriver()
    source = _opened(driver)

    def fail() -> None:
        raise DeviceError("The camera does not answer.")

    driver.newest.when_empty = fail
    assert source.read() is None


def test_a_camera_that_sends_only_damaged_frames_is_lost() -> None:
    driver = FakeDriver()
    source = _opened(driver, *(_frame(number, is_complete=False) for number in range(1, 201)))
    assert source.read() is None
    assert 100 <= source.corrupt < 110


def test_a_complete_frame_that_is_too_short_is_corrupt() -> None:
    driver = FakeDriver()
    short = replace(_frame(1), data=np.zeros(5, np.uint8))
    source = _opened(driver, short)
    driver.newest.when_empty = lambda: driver.newest.waiting.append(_frame(2))
    assert source.read() is not None
    assert (source.source_count, source.corrupt) == (2, 1)


def test_cancelling_ends_a_wait_for_a_trigger() -> None:
    driver = FakeDriver()
    source = _opened(driver, options=SourceOptions(hardware_trigger="Line0"))
    driver.newest.when_empty = source.cancel
    assert source.read() is None


def test_a_camera_that_takes_long_to_close_is_waited_for_until_the_stream_is_to_end() -> None:
    driver = FakeDriver()
    driver.closes = False
    source = _opened(driver)
    closing = threading.Thread(target=source.close)
    closing.start()
    closing.join(0.3)
    assert closing.is_alive()
    source.cancel()
    closing.join(60)
    assert not closing.is_alive()
    assert not driver.newest.is_closed
    driver.newest.can_close.set()
