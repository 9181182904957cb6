"""Many connections, viewers that never read, and pages that come and go."""

from __future__ import annotations

import gc
import itertools
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import psutil
import pytest

from edge_ad.prediction import Prediction
from edge_ad.server import web_sink
from edge_ad.streaming.session import run_stream
from tests.server.live_page import PATIENT, LivePage, judged, read_state
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import wait_until

_ASK = b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n"


def _open_at(port: int) -> int:
    """Connections that the server has."""
    kept = psutil.Process().net_connections("tcp")
    return sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in kept)


def test_page_starts_and_stops_twenty_times_without_a_trace() -> None:
    process = psutil.Process()
    with LivePage() as page:  # what is made once for the whole process
        page.get("/")
    gc.collect()
    before = process.num_fds(), threading.active_count()
    for _ in range(20):
        with LivePage() as page:
            page.show(judged(0, 2.0))
            connection, response = page.open_stream("/api/live")
            read_state(response)
            watching = page.connect()
            watching.sendall(_ASK % b"/stream.mjpg")
        connection.close()
        watching.close()
    del response
    gc.collect()
    wait_until(lambda: process.num_fds() <= before[0])
    wait_until(lambda: threading.active_count() <= before[1])


def test_port_is_free_again_at_once() -> None:
    with LivePage() as page:
        port = page.port
        page.get("/")
    again = web_sink(f"127.0.0.1:{port}")
    again.begin(FakeSource(None))
    again.close()
    again.close()


def test_viewer_that_never_reads_is_cut_and_costs_no_memory() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    with LivePage(limits=replace(PATIENT, stall_s=0.5)) as page, socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", page.port))
        viewer.sendall(_ASK % b"/stream.mjpg")
        numbers = itertools.count(1)

        def show() -> bool:
            result = judged(next(numbers))
            page.show(
                replace(
                    result,
                    frame=replace(result.frame, image=noise),
                    prediction=Prediction(0.5, np.zeros((4, 4), np.float32)),
                )
            )
            return page.sink.viewers == 1

        wait_until(show)
        wait_until(lambda: not show())
        assert page.get("/").status == 200


def test_client_that_reads_nothing_of_a_large_answer_is_cut() -> None:
    with LivePage(limits=replace(PATIENT, stall_s=2.0)) as page, socket.socket() as client:
        page.show(*[judged()] * 10_000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        client.connect(("127.0.0.1", page.port))
        client.sendall(_ASK % b"/api/records.json?newest=10000")
        wait_until(lambda: _open_at(page.port) == 1)
        wait_until(lambda: _open_at(page.port) == 0)
        assert page.get("/").status == 200


def test_one_that_reads_slowly_gets_the_newest_and_not_what_it_missed(page: LivePage) -> None:
    connection, response = page.open_stream("/api/live")
    page.show(judged(0))
    read_state(response)
    for number in range(1, 4001):
        page.show(judged(number))
    frames = [0]
    while frames[-1] < 4000:
        frames.append(read_state(response)["sources"][0]["frame"])
    assert frames == sorted(frames)
    assert len(frames) < 400
    connection.close()


@pytest.mark.parametrize(
    "content", [b"", b"GET /api/events HTT", _ASK % b"/api/events"], ids=["silent", "part", "kept"]
)
def test_hundreds_of_connections_keep_nobody_out(content: bytes) -> None:
    with LivePage(limits=replace(PATIENT, idle_s=3600)) as page, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(page.connect()).sendall(content)
        assert page.get("/api/events").status == 200


def test_connections_are_bounded_and_further_ones_wait_for_their_turn() -> None:
    with LivePage(limits=replace(PATIENT, connections=8, idle_s=0.5)) as page, ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(page.connect())
        assert page.get("/api/events").status == 200


def test_stream_goes_on_and_loses_nothing_under_misuse() -> None:
    sink = web_sink("127.0.0.1:0")
    page = LivePage.__new__(LivePage)
    page.sink = sink
    clients: list[socket.socket] = []

    def come(progress: object) -> None:
        if not clients:
            clients.extend(page.connect() for _ in range(200))
            for number, client in enumerate(clients):
                client.sendall((b"", b"GET / HTTP/1.1\r\nx: ", _ASK % b"/nothing", b"\x16\x03\x01")[number % 4])

    with FakeEngine() as engine:
        source = FakeSource(250, interval_s=0.01)
        summary = run_stream(engine, source, threshold=9.0, sinks=[sink], on_progress=come)
    for client in clients:
        client.close()
    # How fast it is under load is measured by benchmarks/server_load.py.
    assert (summary.frames, summary.dropped) == (250, 0)
