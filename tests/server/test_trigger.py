"""A machine that asks for a frame over HTTP, and the server that the trigger shares with page and metrics."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.local_program import free_port
from edge_ad.errors import DeviceError, UsageError
from edge_ad.server import HttpServer, HttpTrigger, Limits, PageSink, http_trigger, metrics_sink
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame, Result, Unjudged
from edge_ad.streaming.triggers import Trigger, trigger_from_text
from tests.streaming.fakes import FakeSource
from tests.streaming.results import PATIENCE_S, make_result, wait_until


def _trigger(text: str) -> Trigger:
    return trigger_from_text(text, {"http": http_trigger})


def _frame(number: int = 0) -> Frame:
    return Frame(number, np.zeros((8, 8, 3), np.uint8), time.perf_counter(), 0.0, 0.0)


def _fired(trigger: Trigger, frames: list[Frame]) -> list[int]:
    return [frame.index for frame in frames if trigger.fires(frame)]


@pytest.fixture
def trigger() -> Iterator[HttpTrigger]:
    with _trigger("http:0") as trigger:
        assert isinstance(trigger, HttpTrigger)
        yield trigger


def _post(url: str, *, method: str = "POST", **headers: str) -> int:
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_post_has_the_next_frame_judged(trigger: HttpTrigger) -> None:
    url = f"http://127.0.0.1:{trigger.port}/trigger"
    assert not trigger.fires(_frame(0))
    assert _post(f"{url}?id=part%207") == 202
    assert trigger.last_id == "part 7"
    assert _fired(trigger, [_frame(1), _frame(2)]) == [1]


def _answer(url: str, found: list[tuple[int, str]]) -> threading.Thread:
    """Ask in a thread of its own, as the caller is kept until the verdict."""

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=PATIENCE_S) as answer:
                found.append((answer.status, answer.read().decode()))
        except urllib.error.HTTPError as error:
            with error:
                found.append((error.code, error.read().decode()))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.parametrize(("scores", "verdict"), [((0.5, 0.6), "OK"), ((0.5, 1.5), "NG")])
def test_who_waits_gets_the_verdict_of_all_sources(
    trigger: HttpTrigger, scores: tuple[float, float], verdict: str
) -> None:
    sink = trigger.answers(2)
    found: list[tuple[int, str]] = []
    thread = _answer(f"http://127.0.0.1:{trigger.port}/trigger?id=p7&wait=30", found)
    wait_until(lambda: trigger.last_id == "p7")
    sink.write(make_result(0, 0.1, at=time.perf_counter(), part="p6"), None)  # of the part before
    for index, score in enumerate(scores):
        result = make_result(index, score, at=time.perf_counter(), part="p7")
        sink.write(replace(result, frame=replace(result.frame, source_index=index)), None)
    thread.join()
    ((status, text),) = found
    answer = json.loads(text)
    assert (status, answer["id"], answer["verdict"]) == (200, "p7", verdict)
    assert [frame["score"] for frame in answer["frames"]] == [*scores]


def test_a_frame_that_was_not_judged_is_no_good_part(trigger: HttpTrigger) -> None:
    sink = trigger.answers(1)
    found: list[tuple[int, str]] = []
    thread = _answer(f"http://127.0.0.1:{trigger.port}/trigger?id=p7&wait=30", found)
    wait_until(lambda: trigger.last_id == "p7")
    frame = replace(_frame(3), part="p7")
    sink.unjudged(Unjudged(replace(frame, part=""), "black"))  # the trigger waits for a better one
    sink.write(Result.of_unjudged(frame, "another shape", 1.0, "b"), None)
    thread.join()
    answer = json.loads(found[0][1])
    assert (answer["verdict"], answer["frames"][0]["reason"]) == ("NG", "another shape")


def test_no_verdict_in_time_is_an_error_and_a_wrong_time_is_refused(trigger: HttpTrigger) -> None:
    url = f"http://127.0.0.1:{trigger.port}/trigger?id=p1"
    assert _post(f"{url}&wait=1") == 501  # nothing tells it of verdicts
    trigger.answers(1)
    assert [_post(f"{url}&wait={wait}") for wait in ("x", "nan", "-1", "inf", "31")] == [400] * 5
    assert trigger.last_id == ""
    assert _post(f"{url}&wait=0.05") == 504
    assert _post(f"http://127.0.0.1:{trigger.port}/trigger?id=p2&wait=1") == 409


def test_another_id_is_refused_until_a_frame_came(trigger: HttpTrigger) -> None:
    url = f"http://127.0.0.1:{trigger.port}/trigger"
    assert [_post(f"{url}?id={name}") for name in ("p1", "p1", "p2", "")] == [202, 202, 409, 409]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{url}?id=p3", method="POST"), timeout=PATIENCE_S)
    with refused.value as answer:
        assert (answer.status, answer.read()) == (409, b"Another id still waits for its frame: p1.\n")
    frame = _frame(1)
    assert trigger.fires(frame)
    assert trigger.part_of(frame) == "p1"
    assert (trigger.lost, trigger.lost_id) == (3, "p3")
    assert _post(f"{url}?id=p2") == 202


def test_what_is_no_trigger_is_refused(trigger: HttpTrigger) -> None:
    url = f"http://127.0.0.1:{trigger.port}/trigger"
    assert _post(url, method="GET") == 405
    assert _post(f"http://127.0.0.1:{trigger.port}/../etc/passwd") == 404
    assert _post(url, Origin="http://elsewhere") == 403
    assert _post(f"{url}?id={'x' * 300}") == 400
    assert _fired(trigger, [_frame(1)]) == []


def test_clients_that_never_finish_do_not_shut_out_the_trigger(trigger: HttpTrigger) -> None:
    clients = [socket.create_connection(("127.0.0.1", trigger.port)) for _ in range(10)]
    try:
        for client in clients:
            client.sendall(b"POST /trigger HTTP/1.1\r\nX: ")
        assert _post(f"http://127.0.0.1:{trigger.port}/trigger") == 202
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("start", [b"", b"POST /trigger HTTP/1.1\r\nX: "], ids=["silent", "slow"])
def test_clients_that_take_all_places_make_room_for_the_trigger(trigger: HttpTrigger, start: bytes) -> None:
    clients = [socket.create_connection(("127.0.0.1", trigger.port)) for _ in range(40)]
    try:
        for client in clients:
            with contextlib.suppress(OSError):  # it had to make room already
                client.sendall(start)
        for turn in range(3):
            assert _post(f"http://127.0.0.1:{trigger.port}/trigger?id={turn}") == 202
            assert trigger.last_id == str(turn)
            assert trigger.fires(_frame())
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /trigger",
        b"POST /trigger?id=1",
        b"POST /trigger HTTP/1.1",
        b"POST /trigger HTTP/1.1\r\n",
        b"POST /trigger HTTP/1.1\r\nOrig",
        b"POST /trigger HTTP/1.1\r\nX: y\r\n",
    ],
)
def test_request_that_is_cut_off_asks_for_nothing(trigger: HttpTrigger, head: bytes) -> None:
    trigger.last_id = "before"
    with socket.create_connection(("127.0.0.1", trigger.port), timeout=PATIENCE_S) as client:
        client.sendall(head)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"202" not in answer
    assert trigger.last_id == "before"
    assert _fired(trigger, [_frame(1)]) == []


def test_client_that_drips_its_request_is_cut_off() -> None:
    trigger = http_trigger("0", HttpServer(limits=Limits(idle_s=0.3)))
    is_over = threading.Event()
    with trigger, socket.create_connection(("127.0.0.1", trigger.port)) as client:
        client.settimeout(PATIENCE_S)

        def drip() -> None:
            with contextlib.suppress(OSError):
                client.sendall(b"POST /trigger HTTP/1.1\r\n")
                while not is_over.wait(0.05):
                    client.sendall(b"X")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with contextlib.suppress(ConnectionError):
                assert client.recv(100) == b""  # closed by the server, or else this times out
        finally:
            is_over.set()
            thread.join()


def test_trigger_that_others_can_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_AD_TRIGGER_TOKEN", raising=False)
    with pytest.raises(UsageError, match="needs a token"):
        _trigger("http:0.0.0.0:0")
    monkeypatch.setenv("EDGE_AD_TRIGGER_TOKEN", "secret")
    trigger = http_trigger("0.0.0.0:0")
    with trigger:
        url = f"http://127.0.0.1:{trigger.port}/trigger"
        assert [_post(url), _post(url, Authorization="Bearer wrong"), _post(url, Authorization="Bearer secret")] == [
            401,
            401,
            202,
        ]


def test_port_that_is_taken_is_named(trigger: HttpTrigger) -> None:
    with pytest.raises(DeviceError, match=str(trigger.port)), _trigger(f"http:{trigger.port}"):
        pass


def _get(port: int, path: str, **headers: str) -> int:
    return _post(f"http://127.0.0.1:{port}{path}", method="GET", **headers)


def test_page_metrics_and_trigger_are_one_server_with_one_token() -> None:
    server, port = HttpServer("a-token-of-the-user"), free_port()
    page, numbers = PageSink(server, str(port)), metrics_sink(str(port), server)
    trigger = http_trigger(str(port), server)
    assert server.describe() == [f"http://127.0.0.1:{port}/ (everything)"]
    right = {"Authorization": "Bearer a-token-of-the-user"}
    with trigger:
        for sink in (page, numbers):
            sink.begin(FakeSource(None))
        for path in ("/api/events", "/metrics"):
            assert [_get(port, path), _get(port, path, **right)] == [401, 200]
        url = f"http://127.0.0.1:{port}/trigger"
        assert [_post(url), _post(url, **right)] == [401, 202]
        for sink in (page, numbers):
            sink.close()
        assert _post(url, **right) == 202  # served as long as one of them is open


def test_each_address_serves_what_it_was_named_for() -> None:
    server = HttpServer()
    page, numbers, trigger = PageSink(server, ":0"), metrics_sink(":0", server), http_trigger("0", server)
    with trigger:
        for sink in (page, numbers):
            sink.begin(FakeSource(None))
        at_page, at_numbers = int(page.url.rpartition(":")[2].strip("/")), numbers.address.port
        assert [_get(at_page, path) for path in ("/", "/metrics", "/api/events")] == [200, 200, 200]
        assert [_get(at_numbers, path) for path in ("/metrics", "/", "/api/events", "/login")] == [200, 404, 404, 404]
        assert [_post(f"http://127.0.0.1:{port}/trigger") for port in (trigger.port, at_page, at_numbers)] == [
            202,
            202,
            404,
        ]
        for sink in (page, numbers):
            sink.close()


def test_trigger_of_this_machine_needs_no_token_of_the_page() -> None:
    server = HttpServer("a-token-of-the-user")
    page, trigger = PageSink(server, ":0"), http_trigger("0", server)
    with trigger:
        page.begin(FakeSource(None))
        assert _post(f"http://127.0.0.1:{trigger.port}/trigger") == 202
        assert _get(int(page.url.rpartition(":")[2].strip("/")), "/api/events") == 401
        page.close()


def test_token_of_the_trigger_opens_the_trigger_alone() -> None:
    server, port = HttpServer("a-token-of-the-user"), free_port()
    page = PageSink(server, str(port))
    with http_trigger(f"{port}?token=of-the-trigger", server):
        page.begin(FakeSource(None))
        own = {"Authorization": "Bearer of-the-trigger"}
        assert _post(f"http://127.0.0.1:{port}/trigger", **own) == 202
        assert _get(port, "/api/events", **own) == 401
        page.close()


def test_all_parts_are_told_when_the_server_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("granian.server.embed.Server.serve", fail)
    server, control = HttpServer(), StreamControl(1.0)
    page, numbers, trigger = PageSink(server, ":0"), metrics_sink(":0", server), http_trigger("0", server)
    numbers.attach(control)
    with contextlib.suppress(DeviceError):  # said at once, or with the next frame
        trigger.open()
    wait_until(lambda: not any(thread.name == "stream-server" for thread in threading.enumerate()))
    with pytest.raises(DeviceError, match="has ended: by zero"):
        page.write(make_result(), None)
    with pytest.raises(DeviceError, match="no longer works"):
        trigger.fires(_frame())
    assert [event.text for event in control.take_events()] == [
        "Metrics are no longer served: The HTTP server has ended: by zero."
    ]
    trigger.close()
