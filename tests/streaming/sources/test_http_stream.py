"""MJPEG over HTTP: what is damaged is skipped, what is repeated is counted, what goes away comes back."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.mjpeg_camera import MjpegCamera
from edge_ad.errors import DeviceError
from edge_ad.streaming.sources import Source, source_from_uri
from edge_ad.streaming.sources.http_client import MultipartReader
from edge_ad.streaming.sources.http_stream import HttpSource
from tests.streaming.results import PATIENCE_S, wait_until
from tests.streaming.sources.scripted_server import HEAD, jpeg, part, serving

_BRIGHTNESS = (40, 90, 140, 190)


def _read(*chunks: bytes) -> tuple[HttpSource, list[int]]:
    """The source after its end, and the brightness of its frames, to ten."""
    with serving((HEAD, *chunks)) as url, HttpSource(url) as source:
        frames = []
        while (image := source.read()) is not None:
            frames.append(10 * round(float(image.mean()) / 10))
    assert isinstance(source, HttpSource)
    return source, frames


def _garbled(content: bytes) -> bytes:
    """Bytes in the middle of the picture that no JPEG can hold there."""
    half = len(content) // 2
    return content[:half] + b"\xff\xc0\xff\x01" + content[half + 4 :]


@pytest.mark.parametrize(
    "broken",
    [
        part(_garbled(jpeg(120))),
        part(jpeg(120)[:-200]),  # cut short, honestly announced
        part(jpeg(120)[:-200], announced=len(jpeg(120))),  # cut short: the announced length swallows the next frame
        part(jpeg(120), announced=50),  # longer than announced
        part(b"not a picture"),
        part(b""),
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: many\r\n\r\nwhat?\r\n",
    ],
    ids=["garbled", "cut", "cut and announced whole", "announced too short", "no picture", "empty", "no length"],
)
def test_damaged_frame_is_counted_and_every_other_one_is_given(broken: bytes) -> None:
    source, frames = _read(part(jpeg(40)), part(jpeg(90)), broken, part(jpeg(140)), part(jpeg(190)))
    assert (frames, source.corrupt, source.duplicates) == (list(_BRIGHTNESS), 1, 0)


def test_frame_that_claims_gigabytes_is_counted_and_never_decoded() -> None:
    bomb = bytearray(jpeg(120))
    frame = bomb.find(b"\xff\xc0")
    bomb[frame + 5 : frame + 9] = b"\x7f\xbc\x7f\xbc"  # 32,700 x 32,700
    source, frames = _read(part(jpeg(40)), part(bytes(bomb)), part(jpeg(90)))
    assert (frames, source.corrupt) == ([40, 90], 1)


def test_frames_without_a_length_are_given_at_their_own_end() -> None:
    source, frames = _read(*(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(n) + b"\r\n" for n in _BRIGHTNESS))
    assert (frames, source.corrupt) == (list(_BRIGHTNESS), 0)


def test_frame_is_given_before_the_next_one_comes() -> None:
    go_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield HEAD + part(jpeg(90))
        go_on.wait(PATIENCE_S)

    with serving(chunks()) as url, HttpSource(url) as source:
        assert source.read() is not None
        go_on.set()


def test_repeats_are_counted_by_their_bytes_and_by_their_time_stamp() -> None:
    stamped = [part(jpeg(n), extra=b"X-Timestamp: 12.5\r\n") for n in (140, 150)]  # encoded again
    source, frames = _read(part(jpeg(40)), part(jpeg(90)), part(jpeg(90)), part(jpeg(90)), *stamped, part(jpeg(40)))
    assert (frames, source.duplicates) == ([40, 90, 140, 40], 3)


def test_camera_that_repeats_itself_for_long_is_shown_as_it_is() -> None:
    def chunks() -> Iterator[bytes]:
        yield HEAD
        while not is_over.wait(0.05):
            yield part(jpeg(90))

    is_over, started = threading.Event(), time.perf_counter()
    with serving(chunks()) as url, HttpSource(url) as source:
        assert source.read() is not None
        assert source.read() is not None  # so that a frozen picture can be noticed
        is_over.set()
    assert time.perf_counter() - started >= 1.0


def test_stream_that_falls_silent_is_lost_in_bounded_time() -> None:
    go_on = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield HEAD + part(jpeg(90)) + part(jpeg(140))[:500]
        go_on.wait(PATIENCE_S)

    with serving(chunks()) as url, HttpSource(url, timeout_s=2.0) as source:
        assert source.read() is not None
        started = time.perf_counter()
        assert source.read() is None
        assert time.perf_counter() - started < PATIENCE_S / 2
        go_on.set()


def test_stream_that_trickles_is_lost_in_bounded_time() -> None:
    def chunks() -> Iterator[bytes]:
        yield HEAD
        while not is_over.wait(0.1):
            yield b"x"  # of its first line, which never ends

    is_over = threading.Event()
    with serving(chunks()) as url, HttpSource(url, timeout_s=0.4) as source:
        assert source.read() is None  # or else for ever
        is_over.set()


_REFUSAL = b'HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'


def test_stream_that_wants_a_password_says_so() -> None:
    with serving((_REFUSAL,)) as url, pytest.raises(DeviceError, match="401") as refused:
        HttpSource(url).open()
    assert "user:password@" in refused.value.hint


def test_password_of_the_address_is_sent_when_it_is_asked_for_and_shown_nowhere() -> None:
    requests: list[bytes] = []
    with serving((_REFUSAL,), (HEAD, part(jpeg(90))), requests=requests) as url:
        with HttpSource(url.replace("127", "user:s%40cret@127", 1)) as source:
            assert source.read() is not None
        assert "cret" not in source.name
    assert b"Authorization" not in requests[0]
    assert base64.b64encode(b"user:s@cret") in requests[1]


def test_stream_that_is_not_mjpeg_is_handed_to_ffmpeg() -> None:
    page = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>no stream</p>"
    with serving((page,), (page,)) as url, pytest.raises(DeviceError, match="does not answer"):
        HttpSource(url).open()


@given(st.lists(st.binary(max_size=200), max_size=8), st.integers(1, 64))
def test_frame_is_found_among_any_bytes(chunks: list[bytes], size: int) -> None:
    content = b"".join(chunks) + part(jpeg(90)) + b"".join(chunks)

    class Stream:
        def __init__(self) -> None:
            self.rest = content

        def read1(self, _: int, /) -> bytes:
            taken, self.rest = self.rest[:size], self.rest[size:]
            return taken

    reader = MultipartReader(Stream(), "frame", timeout_s=PATIENCE_S)
    parts = []
    while (found := reader.next_part()) is not None:
        parts.append(found)
    assert any(found.is_whole and found.body == jpeg(90) for found in parts)


def _switch_off_and_on(source: Source, camera: MjpegCamera) -> float:
    """Seconds from the camera's return to its first frame."""
    camera.stop()
    reconnects, returned_at = source.gaps.reconnects, 0.0

    def restart() -> None:
        nonlocal returned_at
        returned_at = time.perf_counter()
        camera.start()

    threading.Timer(0.05, restart).start()
    while source.gaps.reconnects == reconnects:
        assert source.read() is not None
    return time.perf_counter() - returned_at


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_camera_that_is_switched_off_and_on_comes_back_each_time(times: int) -> None:
    camera = MjpegCamera([jpeg(n) for n in _BRIGHTNESS], fps=200)
    camera.start()
    threads = threading.active_count()
    try:
        with source_from_uri(camera.url) as source:
            assert source.read() is not None
            longest_s = max(_switch_off_and_on(source, camera) for _ in range(times))
            assert (source.gaps.count, source.gaps.reconnects) == (times, times)
    finally:
        camera.stop()
    assert longest_s < PATIENCE_S
    wait_until(lambda: threading.active_count() <= threads)


def test_camera_whose_process_is_killed_comes_back(tmp_path: Path) -> None:
    for n in _BRIGHTNESS:
        (tmp_path / f"{n}.jpg").write_bytes(jpeg(n))
    free = MjpegCamera([jpeg(90)])
    free.start()
    free.stop()
    command = [sys.executable, "-m", "benchmarks.mjpeg_camera", str(tmp_path), "--port", str(free.port)]
    process = subprocess.Popen(command)
    try:
        source = source_from_uri(free.url)
        _open_when_there(source)
        with source:
            assert source.read() is not None
            process.kill()
            process.wait()
            process = subprocess.Popen(command)
            while source.gaps.reconnects == 0:
                assert source.read() is not None
        assert source.gaps.longest_seconds < PATIENCE_S
    finally:
        process.kill()
        process.wait()


def _open_when_there(source: Source) -> None:
    def is_there() -> bool:
        try:
            source.open()
        except DeviceError:
            return False
        source.close()
        return True

    wait_until(is_there)


def _played(head: bytes, *chunks: bytes) -> list[int]:
    with serving((head, *chunks)) as url, HttpSource(url) as source:
        frames = []
        while (image := source.read()) is not None:
            frames.append(10 * round(float(image.mean()) / 10))
    return frames


@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        (b"; boundary=announced", b"--other\r\nContent-Type: image/jpeg\r\n\r\n"),
        (b"; boundary=announced", b"--other\r\n\r\n"),
        (b"; boundary=announced", b"--other\nContent-Type: image/jpeg\n\n"),
        (b'; boundary="--with dashes"', b"--with dashes\r\nContent-Type: image/jpeg\r\n\r\n"),
        (b"; boundary=--ours", b"----ours\r\nContent-Type: image/jpeg\r\n\r\n"),
        (b"; boundary=ours--", b"--ours\r\nContent-Type: image/jpeg\r\n\r\n"),
        (b"; boundary=", b"--other\r\nContent-Type: image/jpeg\r\n\r\n"),
        (b"", b"--other\r\nContent-Type: image/jpeg\r\n\r\n"),
        (b"; boundary=announced", b"--other\r\nContent-Length: 9\r\nContent-Type: image/jpeg\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is a stream.\r\n"])
def test_boundary_that_is_not_the_announced_one_is_learnt(announced: bytes, sent: bytes, preamble: bytes) -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace" + announced + b"\r\n\r\n" + preamble
    frames = _played(head, *(sent + jpeg(brightness) + b"\r\n" for brightness in _BRIGHTNESS))
    wrong_length = b"Content-Length" in sent  # each part then ends where the next begins and is not whole
    assert frames == ([] if wrong_length else list(_BRIGHTNESS))


def test_boundary_of_large_pictures_is_learnt() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=announced\r\n\r\n"
    picture = jpeg(90, size_hw=(600, 800))
    assert len(picture) > 65536  # more than comes with the head of the first part
    sent = b"--other\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
    assert _played(head, sent + picture + b"\r\n", sent + jpeg(140) + b"\r\n")[0] == 90


def test_one_picture_for_a_request_is_told_from_a_stream() -> None:
    answer = b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(40)
    with serving((answer,)) as url, pytest.raises(DeviceError, match=r"one picture for each request.*snapshot\+"):
        HttpSource(url).open()
