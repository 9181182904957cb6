"""Who is refused is refused before the server spends anything, and never at the cost of those who may watch."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from edge_ad.streaming.web import Limits
from edge_ad.streaming.web.connections import Connections
from edge_ad.streaming.web.cpu_share import CpuShare
from edge_ad.streaming.web.rules import Rules
from tests.streaming.web.live_page import QUICK, LivePage, judged, read_state

from edge_ad.errors import DeviceError
from tests.streaming.results import wait_until

_TOKEN = "token-of-the-benchmark"
_BEARER = {"authorization": f"Bearer {_TOKEN}"}
_ASK = b"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer " + _TOKEN.encode() + b"\r\n\r\n"
_LOGIN = b"GET /login HTTP/1.1\r\nhost: localhost\r\n\r\n"


@contextmanager
def _load(page: LivePage, load: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.live_page_clients", load]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as clients:
        assert clients.stdin is not None
        clients.stdin.write(f"{page.port}\n")
        clients.stdin.flush()
        try:
            yield
        finally:
            clients.kill()


def _cpu_s(*names: str) -> float:
    ids = {thread.native_id for thread in threading.enumerate() if thread.name in names}
    return sum(each.user_time + each.system_time for each in psutil.Process().threads() if each.id in ids)


def test_flood_of_misuse_uses_no_more_than_the_share_of_strangers() -> None:
    with LivePage(token=_TOKEN, limits=Limits()) as page, _load(page, "flood elsewhere"):
        time.sleep(1.0)
        before, started = _cpu_s("stream-web-door", "stream-web-server"), time.monotonic()
        time.sleep(3.0)
        used = _cpu_s("stream-web-door", "stream-web-server") - before
        assert 0 < used / (time.monotonic() - started) < 0.05


def test_viewers_old_and_new_are_served_while_the_page_is_misused() -> None:
    with LivePage(token=_TOKEN, limits=Limits()) as page:
        viewer = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
        viewer.request("GET", "/api/live", headers=_BEARER)
        states = viewer.getresponse()
        with _load(page, "misuse"):
            time.sleep(1.5)
            page.show(judged(7))
            started = time.monotonic()
            while not (shown := read_state(states)["sources"]) or shown[0]["frame"] != 7:
                assert time.monotonic() - started < 3
            assert page.request("GET", "/api/events", headers=_BEARER, source="127.0.0.2").status == 200
            assert time.monotonic() - started < 10
        viewer.close()


def test_page_that_nobody_can_reach_any_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(Rules, "judge", fail)
    with LivePage() as page:
        with socket.create_connection(("127.0.0.1", page.port)) as guest:
            guest.sendall(_LOGIN)
            wait_until(lambda: not any(thread.name == "stream-web-door" for thread in threading.enumerate()))
        with pytest.raises(DeviceError, match="live page has ended: by zero"):
            page.show(judged(1))


def test_server_never_hears_of_those_who_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []
    take = Connections.take
    monkeypatch.setattr(Connections, "take", lambda self, *found: taken.append(found[-1]) or take(self, *found))
    with LivePage(token=_TOKEN) as page:
        assert page.get("/api/events", authorization="Bearer wrong").status == 401
        assert page.get("/../../etc/passwd").status == 401
        assert page.get("/../../etc/passwd", **_BEARER).status == 404
        assert page.get("/", host="evil.example").status == 421
        assert page.request("POST", "/api/pause", headers={"content-length": "99999999"}).status == 413
        assert b"431" in page.raw(b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n")
        assert b"400" in page.raw(b"\x16\x03\x01\x02\x00\x01\x00")
        assert taken == []
        assert page.get("/api/events", **_BEARER).status == 200
        assert len(taken) == 1


def test_silent_connections_do_not_keep_out_one_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.streaming.web.door._LEAST_HEARD_S", 0.1)
    limits = Limits(strangers=8, connections_per_address=8)
    with LivePage(token=_TOKEN, limits=limits) as page, ExitStack() as stack:
        silent = [stack.enter_context(page.connect()) for _ in range(30)]
        assert page.get("/api/events", **_BEARER).status == 200
        silent[0].settimeout(2)
        assert _is_over(silent[0])
        silent[-1].sendall(_ASK)
        assert b"200 OK" in silent[-1].recv(1 << 12)


def test_request_that_comes_in_pieces_is_answered(page: LivePage) -> None:
    with page.connect() as client:
        for piece in (b"GET /api/ev", b"ents HTTP/1.1\r\nhost: local", b"host\r\n\r", b"\n"):
            client.sendall(piece)
            time.sleep(0.05)
        assert client.recv(1 << 12).startswith(b"HTTP/1.1 200 OK")


def test_second_request_is_checked_as_the_first_and_is_the_last_when_it_is_refused() -> None:
    with LivePage(token=_TOKEN) as page, page.connect() as client:
        client.sendall(_ASK)
        assert b"200 OK" in client.recv(1 << 12)
        client.sendall(b"GET /api/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer wrong\r\n\r\n")
        client.settimeout(2)
        answer = _all(client)
        assert b"401 Unauthorized" in answer
        assert b"connection: close" in answer.lower()


def test_connection_that_has_not_logged_in_gets_one_answer() -> None:
    with LivePage(token=_TOKEN) as page, page.connect() as client:
        client.sendall(_LOGIN)
        client.settimeout(2)
        assert b"200 OK" in _all(client)


def test_more_logins_than_a_person_needs_are_refused() -> None:
    with LivePage(token=_TOKEN, limits=replace(QUICK, logins_per_s=1)) as page:
        seen = [page.get("/login").status for _ in range(8)]
        assert seen.count(200) in (4, 5)
        assert seen.count(503) == 8 - seen.count(200)
        assert page.request("GET", "/login", source="127.0.0.2").status == 200
        assert page.get("/api/events", **_BEARER).status == 200


def test_share_is_slept_off_after_the_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"monotonic": 100.0, "thread_time": 5.0}
    monkeypatch.setattr("edge_ad.streaming.web.cpu_share.time", SimpleNamespace(
        monotonic=lambda: clock["monotonic"], thread_time=lambda: clock["thread_time"]
    ))  # fmt: skip
    share = CpuShare(0.1, 0.02)
    clock["thread_time"] += 0.02
    assert share.rest_s() == 0
    clock["thread_time"] += 0.01
    assert share.rest_s() == pytest.approx(0.1)
    clock["monotonic"] += 0.1
    assert share.rest_s() == pytest.approx(0.0, abs=1e-9)
    clock["thread_time"] += 9.0
    assert share.rest_s() == 0.25


def _is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def _all(client: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while chunk := client.recv(1 << 16):
            answer += chunk
    return answer
