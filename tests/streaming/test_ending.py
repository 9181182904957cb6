"""The end of a stream, whatever its peers do: within five seconds of SIGTERM, and of everything else that ends it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sinks.base import Sink
from tests.runtime.tiny_bundle import tiny_bundle
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink
from tests.streaming.results import wait_until
from tests.streaming.slow_peers import dripping, peer, silent
from tests.streaming.sources.scripted_server import HEAD, jpeg, part

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of a POSIX system")

_ROOT = Path(__file__).parents[2]
# Five seconds are promised; the rest is for a busy machine. Waits for each read, or for ever, take longer.
_PATIENCE_S = 30.0


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    common = ("--backend", "onnxruntime", "--threads", "1", "--headless", "--no-frame-health")
    command = [sys.executable, "-m", "edge_ad", "stream", *common, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _terminate(process: subprocess.Popen[bytes]) -> tuple[float, int, str]:
    """Seconds from SIGTERM to the end, exit code, and what was written to stderr."""
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    return time.monotonic() - started, process.returncode, errors.decode()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_bundle(tmp_path_factory.mktemp("work") / "plate").root)


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_sigterm_ends_a_stream_all_of_whose_peers_hang(bundle: str, peers: ExitStack, tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    slow, is_slow = dripping(b"HTTP/1.0 200 OK\r\n", itertools.repeat(b"X: y\r\n")), threading.Event()

    def camera(connection: socket.socket, is_over: threading.Event) -> None:
        if is_slow.is_set():
            met_again.set()
            slow(connection, is_over)
        else:
            is_slow.set()
            for brightness in (40, 90, 140, 190):
                connection.sendall((HEAD if brightness == 40 else b"") + part(jpeg(brightness)))

    met_again, hook = threading.Event(), tmp_path / "hook.sh"
    hook.write_text("#!/bin/sh\nsleep 60\n")
    hook.chmod(0o755)
    camera_port, _ = peers.enter_context(peer(camera))
    webhook_port, is_posted = peers.enter_context(peer(slow))
    broker_port, _ = peers.enter_context(peer(silent))
    sinks = ("--webhook", f"http://127.0.0.1:{webhook_port}/", "--mqtt", f"mqtt://127.0.0.1:{broker_port}/line")
    source = f"http://127.0.0.1:{camera_port}/"
    process = _start(
        "--bundle", bundle, "--source", source, "--threshold", "-1e9", "--policy", "every", *sinks, "--hook", str(hook)
    )
    try:
        assert is_posted.wait(60)
        assert met_again.wait(60)
        seconds, code, errors = _terminate(process)
    finally:
        process.kill()
    assert code == 0, errors
    assert seconds < _PATIENCE_S


@pytest.mark.parametrize("waits_for", ["http camera", "rtsp camera", "mqtt trigger"])
def test_sigterm_ends_a_stream_that_still_waits_for_its_peers(bundle: str, peers: ExitStack, waits_for: str) -> None:
    port, is_met = peers.enter_context(peer(silent))
    if waits_for == "mqtt trigger":
        pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
        good = dripping(HEAD, itertools.cycle(part(jpeg(brightness)) for brightness in (40, 90, 140)))
        camera_port, _ = peers.enter_context(peer(good))
        asked = ("--source", f"http://127.0.0.1:{camera_port}/", "--trigger", f"mqtt://127.0.0.1:{port}/part")
    else:
        asked = ("--source", f"{waits_for.partition(' ')[0]}://127.0.0.1:{port}/")
    process = _start("--bundle", bundle, *asked)
    try:
        assert is_met.wait(60)
        seconds, code, errors = _terminate(process)
    finally:
        process.kill()
    assert code == 143, errors
    assert "does not answer" not in errors
    assert seconds < _PATIENCE_S


class _HangingSource(FakeSource):
    """Its third read returns when the test says so, and no sooner."""

    def __init__(self) -> None:
        super().__init__(None, is_live=True)
        self.go_on, self.is_hanging = threading.Event(), threading.Event()

    def read(self) -> NDArray[np.uint8] | None:
        if self.reads == 2:
            self.is_hanging.set()
            self.go_on.wait(120)
        return super().read()


def test_source_that_never_returns_is_left_behind_and_its_frames_are_delivered(engine: FakeEngine) -> None:
    source, sink = _HangingSource(), ListSink()
    started = time.monotonic()
    try:
        summary = run_stream(engine, source, threshold=1.0, sinks=[sink], policy="every", limits=Limits(None, 0.2))
        seconds = time.monotonic() - started
    finally:
        source.go_on.set()
    assert (summary.frames, summary.ended_by, len(sink.results)) == (2, "max seconds", 2)
    assert seconds < _PATIENCE_S


class _SinkThatTakesItsTime(ListSink):
    """Closes when all of them are closing."""

    def __init__(self, closing: threading.Barrier) -> None:
        super().__init__()
        self._closing = closing

    def close(self) -> None:
        self._closing.wait(60)  # raises if the others are closed only after this one
        super().close()


def test_sinks_are_completed_at_the_same_time(engine: FakeEngine) -> None:
    closing = threading.Barrier(3)
    sinks: list[Sink] = [_SinkThatTakesItsTime(closing) for _ in range(3)]
    run_stream(engine, FakeSource(3), threshold=1.0, sinks=sinks)
    assert all(isinstance(sink, ListSink) and len(sink.results) == 3 for sink in sinks)


class _SlowToOpen(FakeSource):
    """Asks for the end of the stream and is open when it is cancelled."""

    def __init__(self) -> None:
        super().__init__(None, is_live=True)
        self._is_cancelled = threading.Event()

    def open(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert self._is_cancelled.wait(60)
        super().open()

    def cancel(self) -> None:
        self._is_cancelled.set()


def test_source_is_cancelled_while_it_is_opened(engine: FakeEngine) -> None:
    assert run_stream(engine, _SlowToOpen(), threshold=1.0).ended_by == "terminated"


def test_sigterm_ends_a_stream_whose_video_comes_from_a_server_that_hangs(
    bundle: str, peers: ExitStack, tmp_path: Path
) -> None:
    path = tmp_path / "line.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for frame in np.random.default_rng(0).integers(0, 256, (20, 480, 640, 3), np.uint8):
        video.write(frame)
    video.release()
    content = path.read_bytes()
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    port, _ = peers.enter_context(peer(dripping(head + content[: len(content) // 2], itertools.repeat(b""))))
    records = tmp_path / "records.jsonl"
    outputs = ("--save-records", str(records))
    process = _start("--bundle", bundle, "--source", f"http://127.0.0.1:{port}/line.avi", *outputs)
    try:
        wait_until(lambda: records.is_file() and len(records.read_text().splitlines()) > 1, 60)
        seconds, code, errors = _terminate(process)
    finally:
        process.kill()
    assert code == 0, errors
    assert seconds < _PATIENCE_S
