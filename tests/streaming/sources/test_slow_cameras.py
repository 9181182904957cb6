"""Cameras that drip, flood or say nothing: each attempt has one deadline, and can be ended from another thread."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edge_ad.errors import DeviceError
from edge_ad.streaming.deadline import Deadline
from edge_ad.streaming.sources import Source, source_from_uri
from edge_ad.streaming.sources.ffmpeg_sources import NetworkSource
from edge_ad.streaming.sources.http_stream import HttpSource
from edge_ad.streaming.sources.reconnecting import ReconnectingSource
from tests.streaming.results import PATIENCE_S
from tests.streaming.slow_peers import dripping, flooding, peer, silent
from tests.streaming.sources.scripted_server import HEAD, jpeg, part

_TIMEOUT_S = 0.5
_SOON_S = 30.0  # however busy the machine is: what waits for each read, or for ever, takes longer than this
_CHUNKED = HEAD.replace(b"1.0", b"1.1").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")

_SLOW_TO_OPEN = {
    "nothing": silent,
    "status line": dripping(b"", itertools.repeat(b"H")),
    "headers": dripping(b"HTTP/1.0 200 OK\r\n", (bytes([byte]) for byte in b"X-Very-Long: " * 1000)),
    "header after header": dripping(b"HTTP/1.0 200 OK\r\n", itertools.repeat(b"X: y\r\n")),
    "interim answers": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "redirect to itself": flooding(b"HTTP/1.1 302 Found\r\nLocation: /video\r\n\r\n", b"x" * 65536),
    "redirect that drips": dripping(b"HTTP/1.1 302 Found\r\nLocation: /", itertools.repeat(b"x")),
    "refusal that drips": dripping(b"HTTP/1.0 401 No\r\nWWW-Authenticate: Basic", itertools.repeat(b"x")),
}
_SLOW_TO_READ = {
    "nothing": dripping(HEAD, ()),
    "head of a part": dripping(HEAD + b"--frame\r\nContent-Type: ", itertools.repeat(b"x")),
    "picture": dripping(HEAD + part(jpeg(90))[:200], itertools.repeat(b"x")),
    "no part": flooding(HEAD, b"x" * 4096),
    "size of a chunk": dripping(_CHUNKED, itertools.repeat(b"0")),
    "damaged parts": dripping(HEAD, itertools.repeat(part(b"not a picture"))),
}


@contextmanager
def _ended_soon() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < _SOON_S


@pytest.mark.parametrize("behave", _SLOW_TO_OPEN.values(), ids=_SLOW_TO_OPEN)
def test_camera_that_does_not_come_to_the_point_is_given_up(behave: Callable[..., None]) -> None:
    with peer(behave) as (port, _), _ended_soon(), pytest.raises(DeviceError):
        HttpSource(f"http://user:secret@127.0.0.1:{port}/video", timeout_s=_TIMEOUT_S).open()


@pytest.mark.parametrize("behave", _SLOW_TO_READ.values(), ids=_SLOW_TO_READ)
def test_stream_that_gives_no_frame_is_given_up(behave: Callable[..., None]) -> None:
    with peer(behave) as (port, _):
        source = HttpSource(f"http://127.0.0.1:{port}/", timeout_s=_TIMEOUT_S)
        with source, _ended_soon():
            assert source.read() is None


@pytest.mark.parametrize("start", [b"", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"], ids=["status line", "headers"])
def test_rtsp_camera_that_drips_is_given_up(start: bytes) -> None:
    with peer(dripping(start, itertools.repeat(b"R"))) as (port, _), _ended_soon(), pytest.raises(DeviceError):
        NetworkSource(f"rtsp://127.0.0.1:{port}/line").open()


def test_outage_of_a_camera_that_drips_its_headers_ends_at_its_limit() -> None:
    go_on, slow = threading.Event(), dripping(b"HTTP/1.0 200 OK\r\n", itertools.repeat(b"X: y\r\n"))

    def behave(connection: socket.socket, is_over: threading.Event) -> None:
        if go_on.is_set():
            slow(connection, is_over)
        else:
            connection.sendall(HEAD + part(jpeg(90)))
            go_on.wait(PATIENCE_S)

    with peer(behave) as (port, _):
        source = HttpSource(f"http://127.0.0.1:{port}/", timeout_s=_TIMEOUT_S)
        with ReconnectingSource(source, max_outage_s=1.0) as waiting:
            assert waiting.read() is not None
            go_on.set()
            with _ended_soon(), pytest.raises(DeviceError, match="has been gone"):
                waiting.read()


def _cancel_when_met(source: Source, is_met: threading.Event) -> threading.Thread:
    def cancel() -> None:
        is_met.wait(PATIENCE_S)
        source.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", [HttpSource, NetworkSource])
def test_connection_that_is_being_opened_is_ended_from_another_thread(kind: Callable[..., Source]) -> None:
    scheme = "http" if kind is HttpSource else "rtsp"
    with peer(silent) as (port, is_met):
        source = kind(f"{scheme}://127.0.0.1:{port}/", timeout_s=3600)
        canceller = _cancel_when_met(source, is_met)
        with _ended_soon(), pytest.raises(DeviceError):
            source.open()
        canceller.join()
        with _ended_soon(), pytest.raises(DeviceError):
            source.open()  # nor is it opened again


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_read_and_handshake_are_ended_from_another_thread(scheme: str) -> None:
    behave = dripping(HEAD, ()) if scheme == "http" else silent
    with peer(behave) as (port, is_met):
        source = HttpSource(f"{scheme}://127.0.0.1:{port}/", timeout_s=3600)
        if scheme == "http":
            source.open()
        canceller = _cancel_when_met(source, is_met)
        with _ended_soon():
            if scheme == "http":
                assert source.read() is None
            else:
                with pytest.raises(DeviceError):
                    source.open()
        canceller.join()
        source.close()


@pytest.mark.parametrize("uri", ["http://camera.test/video", "rtsp://camera.test/line"])
def test_look_up_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    numbers, go_on = socket.getaddrinfo, threading.Event()

    def look_up(host: object, *arguments: object, **options: object) -> object:
        if options.get("flags"):  # numbers alone
            return numbers(host, *arguments, **options)  # type: ignore[arg-type]
        go_on.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    source = source_from_uri(uri)
    try:
        with _ended_soon(), pytest.raises(DeviceError):
            source.open()
    finally:
        go_on.set()


def test_calls_that_never_return_do_not_pile_up() -> None:
    deadline, go_on = Deadline(), threading.Event()
    for _ in range(20):
        deadline.start(0.01)
        with pytest.raises(TimeoutError):
            deadline.call(go_on.wait)
    stuck = [thread for thread in threading.enumerate() if thread.name == "peer-call"]
    go_on.set()
    assert len(stuck) <= 4
    for thread in stuck:
        thread.join()
    deadline.start(PATIENCE_S)
    assert deadline.call(lambda: 7) == 7  # and afterwards there is room again


def test_what_comes_too_late_is_handed_back() -> None:
    deadline, go_on, handed_back = Deadline(), threading.Event(), threading.Event()
    deadline.start(0.01)
    with pytest.raises(TimeoutError):
        deadline.call(lambda: go_on.wait(PATIENCE_S), lambda value: handed_back.set())
    go_on.set()
    assert handed_back.wait(PATIENCE_S)
