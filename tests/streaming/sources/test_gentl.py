"""Cameras through a GenTL producer: the virtual one that comes with the package ``genicam``, which has three."""

from __future__ import annotations

import gc
import io
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.cli import main
from edge_ad.errors import DeviceError, MissingDependencyError, UsageError
from edge_ad.runtime.gentl import load_genicam
from edge_ad.streaming.sources import Source, SourceOptions, source_from_uri
from edge_ad.streaming.sources.genapi_features import camera_port
from edge_ad.streaming.sources.genicam import GenicamSource


@pytest.fixture(autouse=True)
def producer(monkeypatch: pytest.MonkeyPatch) -> Path:
    genicam = pytest.importorskip("genicam", reason="the package genicam brings a virtual GenTL producer")
    folder = Path(genicam.__file__).parent
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"/no/such/folder:{folder}")
    return folder


def _inner(source: Source) -> GenicamSource:
    inner = source._source  # type: ignore[attr-defined]
    assert isinstance(inner, GenicamSource)
    return inner


def test_a_camera_gives_numbered_frames_at_its_size_and_rate() -> None:
    with source_from_uri("genicam://1?Width=200&Height=120", SourceOptions(fps=100)) as source:
        images = [source.read() for _ in range(20)]
        assert all(image is not None and image.shape == (120, 200, 3) for image in images)
        assert source.fps == 100
        assert source.source_count == 20 + source.missed
        assert source.corrupt == 0


def test_cameras_of_one_producer_stream_side_by_side_and_one_that_closes_leaves_the_other() -> None:
    with source_from_uri("genicam://0") as red, source_from_uri("genicam://2") as blue:
        for _ in range(3):
            pictures = [source.read() for source in (red, blue)]
            means = [picture.mean((0, 1)) for picture in pictures if picture is not None]
            assert means[0][2] > means[0][0]  # red on white: its ball has less of the other colours
            assert means[1][0] > means[1][2]
            blue.close()
            blue.open()


def test_grey_and_colour_show_the_same_ball() -> None:
    with source_from_uri("genicam://1?pixel_format=Mono8") as source:
        grey = source.read()
    assert grey is not None
    assert (grey[..., 0] == grey[..., 2]).all()
    assert len(set(grey.reshape(-1, 3)[:, 0].tolist())) > 1


def test_a_camera_that_another_program_holds_is_told_from_one_that_is_not_there() -> None:
    with source_from_uri("genicam://0"):
        with pytest.raises(DeviceError, match="already in use") as failure, source_from_uri("genicam://0"):
            pass
        assert "no other program" in failure.value.hint
    with (
        pytest.raises(DeviceError, match="no GenICam camera 40012345") as failure,
        source_from_uri("genicam://40012345"),
    ):
        pass
    assert "0 (0, Machine Vision Games Ltd. Viky)" in failure.value.hint


def test_mistakes_are_one_line_with_the_nearest_name_or_the_range() -> None:
    for query, message, hint in (
        ("Widht=200", "has no feature Widht", "It has: Width"),
        ("Width=7", "does not take 7 for Width", "Possible: 100 to 800."),
        ("pixel_format=BayerRG8", "has no PixelFormat BayerRG8", "RGBa8, Mono8"),
        ("PayloadSize=1", "does not let PayloadSize be set now", "lock"),
    ):
        with pytest.raises(UsageError, match=message) as failure, source_from_uri(f"genicam://0?{query}"):
            pass
        assert hint in failure.value.hint


def test_chunk_data_of_a_frame_is_read() -> None:
    with source_from_uri("genicam://1?ChunkSelector=NrBounces&ChunkEnable=1") as source:
        connection = _inner(source)._connection
        assert connection is not None
        numbers = []
        for _ in range(3):
            buffer = connection.fetch(5.0, threading.Event())
            assert buffer is not None
            numbers.append((connection.chunk(buffer, "ChunkNrBounces"), connection.chunk(buffer, "ChunkFrameID")))
            connection.release(buffer)
    assert all(isinstance(bounces, int) and frame is None for bounces, frame in numbers)


def test_a_camera_that_is_opened_again_and_again_leaves_nothing_behind() -> None:
    _, genapi = load_genicam()

    def descriptions() -> int:
        gc.collect()
        return sum(type(known) is genapi.NodeMap for known in gc.get_objects())

    before = descriptions()
    source = source_from_uri("genicam://1")
    for _ in range(3):
        with source:
            connection = _inner(source)._connection
            assert connection is not None
            buffer = connection.fetch(5.0, threading.Event())
            assert buffer is not None
            assert connection.chunk(buffer, "ChunkNrBounces") is not None
            connection.release(buffer)
        del connection
    assert descriptions() == before


def test_a_camera_that_stops_answering_twenty_times_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with source_from_uri("genicam://1", SourceOptions(fps=200)) as source:
        for _ in range(20):
            assert source.read() is not None
            connection: Any = _inner(source)._connection
            connection._events.unregister_event()  # what a producer does with the events of a camera that is gone
            assert source.read() is not None
        assert (source.gaps.count, source.gaps.reconnects) == (20, 20)


def test_a_camera_that_is_lost_while_it_starts_or_is_asked_for_a_size_can_be_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gentl, genapi = load_genicam()

    def fail(connection: Any) -> None:
        connection._stream = connection._device.create_data_stream()
        connection._stream.open(connection._device.data_stream_ids[0])
        raise gentl.GenericException("no memory")

    source = source_from_uri("genicam://1")
    with monkeypatch.context() as patched:
        patched.setattr("edge_ad.streaming.sources.gentl._GentlConnection._start", fail)
        with pytest.raises(DeviceError, match="no memory"):
            source.open()
    with source:
        assert source.read() is not None
        inner: Any = _inner(source)._connection
        monkeypatch.setattr(inner, "_side", lambda *_: _raise(genapi.GenericException("unplugged")))
        assert source.read() is not None
        assert (source.gaps.count, source.gaps.reconnects) == (1, 1)


def _raise(error: Exception) -> Any:
    raise error


class _Port:
    """Of a camera, which keeps its description in a register."""

    name = "Device"

    def __init__(self, content: bytes) -> None:
        self.content, self.is_there = content, True
        self.url_info_list = (SimpleNamespace(url=f"Local:camera.zip;a000;{len(content):x}?SchemaVersion=1.1.0"),)

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        if not self.is_there:
            raise load_genicam()[0].IoException("gone")
        assert address == 0xA000
        return length, self.content[:length]


def test_a_description_may_be_zipped_and_a_camera_that_is_gone_does_not_answer() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("camera.xml", "<RegisterDescription/>")
    content = _Port(packed.getvalue())
    port = camera_port(content)
    assert port.description() == "<RegisterDescription/>"
    assert port.answers()
    content.is_there = False
    assert not port.answers()


def test_producers_are_found_by_file_by_folder_and_by_the_variable(
    producer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH")
    with pytest.raises(DeviceError, match="no GenICam camera 0") as failure, source_from_uri("genicam://0"):
        pass
    assert "GENICAM_GENTL64_PATH" in failure.value.hint
    for place in (producer, producer / "viky.cti"):
        with source_from_uri(f"genicam://0?producer={place}") as source:
            assert source.read() is not None
    with pytest.raises(UsageError, match="no GenTL producer"):
        source_from_uri(f"genicam://0?producer={tmp_path}/none.cti")
    broken = tmp_path / "broken.cti"
    broken.write_bytes(b"no library")
    with (
        pytest.raises(DeviceError, match=r"No GenTL producer works: broken\.cti"),
        source_from_uri(f"genicam://0?producer={broken}"),
    ):
        pass


def test_doctor_lists_the_cameras_with_their_addresses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(f"genicam://{number}" in out for number in range(3))


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genicam.gentl", None)
    with pytest.raises(MissingDependencyError, match=r"edge-ad\[genicam\]"):
        load_genicam()
