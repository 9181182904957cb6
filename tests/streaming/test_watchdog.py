"""What systemd hears, at a real datagram socket."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.watchdog import Watchdog
from tests.streaming.fakes import FakeEngine, FakeSource, SilentSource
from tests.streaming.results import PATIENCE_S, wait_until


class Systemd:
    """Reads everything at once, as systemd does: a datagram socket holds ten messages."""

    def __init__(self, address: str) -> None:
        self.address, self.heard = address, list[str]()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self.heard.append(message.decode())


@pytest.fixture
def systemd(tmp_path: Path) -> Systemd:
    return Systemd(str(tmp_path / "notify"))


def _environment(systemd: Systemd, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.address, **more}


def _run_until_heard(systemd: Systemd, engine: FakeEngine, source: FakeSource, watchdog: Watchdog, beats: int) -> None:
    control = StreamControl()

    def stop() -> None:
        try:
            wait_until(lambda: systemd.heard.count("WATCHDOG=1") >= beats)
        finally:
            control.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    run_stream(engine, source, threshold=1.0, control=control, watchdog=watchdog)
    thread.join()


def _heard(systemd: Systemd) -> list[str]:
    systemd.close()
    return systemd.heard


def test_stream_says_ready_alive_status_and_stopping(systemd: Systemd, engine: FakeEngine) -> None:
    watchdog, started = Watchdog(_environment(systemd, WATCHDOG_USEC="200000")), time.perf_counter()
    _run_until_heard(systemd, engine, FakeSource(None, is_live=True, interval_s=0.01), watchdog, beats=6)
    seconds = time.perf_counter() - started
    heard = _heard(systemd)
    assert heard[0] == "READY=1"
    assert heard[-1] == "STOPPING=1"
    assert 6 <= heard.count("WATCHDOG=1") <= seconds / 0.05 + 1  # every quarter of 0.2 s
    assert any(line.startswith("STATUS=") and "frames" in line for line in heard)


def test_source_that_gives_no_frame_is_a_healthy_idle(systemd: Systemd, engine: FakeEngine) -> None:
    watchdog = Watchdog(_environment(systemd, WATCHDOG_USEC="400000"))
    _run_until_heard(systemd, engine, SilentSource(), watchdog, beats=3)
    assert _heard(systemd).count("WATCHDOG=1") >= 3


class Hanging(FakeEngine):
    """Its driver never answers, until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over, self.is_hanging = threading.Event(), threading.Event()

    def warm_up(self, runs: int = 3) -> None:
        pass

    def _infer(self, images: object) -> object:  # type: ignore[override]
        self.is_hanging.set()
        self.over.wait(PATIENCE_S)
        raise RuntimeError("the driver was reset")


def test_engine_that_hangs_is_not_called_alive(systemd: Systemd) -> None:
    watchdog = Watchdog(_environment(systemd, WATCHDOG_USEC="200000"))
    with Hanging() as engine:
        before: list[int] = []

        def go_on() -> None:
            if engine.is_hanging.wait(PATIENCE_S):
                before.append(systemd.heard.count("WATCHDOG=1"))
                time.sleep(2.0)
            engine.over.set()

        threading.Thread(target=go_on).start()
        with pytest.raises(RuntimeError, match="driver was reset"):
            run_stream(engine, FakeSource(None, is_live=True, interval_s=0.01), threshold=1.0, watchdog=watchdog)
    # Two in the first 0.1 s, and what was under way; 40 in two seconds of a healthy stream.
    assert _heard(systemd).count("WATCHDOG=1") - before[0] <= 10


def test_nothing_is_sent_without_a_socket_and_a_dead_one_is_no_failure(tmp_path: Path) -> None:
    for address in ("", "relative", str(tmp_path / "gone"), "@edge-ad-test-nobody-listens"):
        watchdog = Watchdog({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
        watchdog.ready()
        watchdog.beat(is_healthy=True, status=str)
        watchdog.stopping()


def test_abstract_address_is_understood() -> None:
    name = f"edge-ad-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(PATIENCE_S)
        watchdog = Watchdog({"NOTIFY_SOCKET": f"@{name}"})
        watchdog.ready()
        assert listener.recv(100) == b"READY=1"
        watchdog.stopping()


def test_watchdog_of_another_process_is_left_alone(systemd: Systemd) -> None:
    watchdog = Watchdog(_environment(systemd, WATCHDOG_USEC="1000", WATCHDOG_PID="1"))
    watchdog.beat(is_healthy=True, status=lambda: "two\nlines")
    watchdog.stopping()
    assert _heard(systemd) == ["STATUS=two lines", "STOPPING=1"]
