"""Many connections, viewers that never read, and pages that come and go."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import psutil

from edge_ad.prediction import Prediction
from edge_ad.server import Limits, web_sink
from edge_ad.streaming.session import run_stream
from tests.server.live_page import QUICK, LivePage, judged, read_state
from tests.streaming.fakes import FakeEngine, FakeSource

_ASK = b"GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n"


def _wait_until(is_so: object, limit_s: float = 5.0) -> None:
    until = time.monotonic() + limit_s
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


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
    assert (process.num_fds(), threading.active_count()) == before


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
    with LivePage(limits=replace(QUICK, stall_s=0.5)) as page, socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", page.port))
        viewer.sendall(_ASK % b"/stream.mjpg")
        until, number = time.monotonic() + 8, 0
        has_watched = False
        while page.sink.viewers or not has_watched:
            assert time.monotonic() < until
            has_watched = has_watched or page.sink.viewers == 1
            number += 1
            result = judged(number)
            page.show(
                replace(
                    result,
                    frame=replace(result.frame, image=noise),
                    prediction=Prediction(0.5, np.zeros((4, 4), np.float32)),
                )
            )
            time.sleep(0.01)
        assert page.get("/").status == 200


def test_client_that_read_slowly_once_has_no_more_time_than_others() -> None:
    limits = replace(QUICK, idle_s=0.6, stall_s=5)
    with LivePage(limits=limits) as page, socket.socket() as client:
        page.show(*[judged()] * 10_000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.connect(("127.0.0.1", page.port))
        client.sendall(_ASK % b"/api/records.json?newest=10000")
        time.sleep(0.2)  # the server waits for it
        client.settimeout(5)
        answer = b""
        while not answer.endswith(b"}\n]\n"):
            answer += client.recv(1 << 20)
        started = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - started < 5:
                client.sendall(b"x")
                time.sleep(0.02)
    assert time.monotonic() - started < 3


def test_one_that_reads_slowly_gets_the_newest_and_not_what_it_missed(page: LivePage) -> None:
    connection, response = page.open_stream("/api/live")
    page.show(judged(0))
    read_state(response)
    for number in range(1, 400):
        page.show(judged(number))
    time.sleep(0.5)
    page.show(judged(400))
    frames = [read_state(response)["sources"][0]["frame"] for _ in range(4)]
    assert frames[-1] == 400
    connection.close()


def test_two_hundred_connections_are_bounded_and_the_stream_goes_on() -> None:
    limits = Limits(idle_s=5, connections=40, connections_per_address=30)
    sink = web_sink("127.0.0.1:0", limits=limits)
    page = LivePage.__new__(LivePage)
    page.sink = sink
    frames, interval_s = 250, 0.01
    with ExitStack() as stack, FakeEngine() as engine:
        crowd = threading.Thread(target=_crowd, args=(page, stack))

        def come(progress: object) -> None:
            if not crowd.ident:
                crowd.start()

        source = FakeSource(frames, interval_s=interval_s, is_live=True)
        summary = run_stream(engine, source, threshold=9.0, sinks=[sink], on_progress=come)
        crowd.join()
    # Loosely, as the tests share the machine; benchmarks/live_page_load.py measures it.
    assert summary.fps > 0.7 / interval_s
    assert page.refused >= 150  # type: ignore[attr-defined]


def _crowd(page: LivePage, stack: ExitStack) -> None:
    clients = []
    for number in range(200):
        client = stack.enter_context(page.connect())
        client.settimeout(2)
        clients.append(client)
        if number % 2:
            client.sendall(_ASK % b"/api/events")
    page.refused = sum(_is_refused(client) for client in clients[60:])  # type: ignore[attr-defined]
    page.refused += 30  # type: ignore[attr-defined]


def _is_refused(client: socket.socket) -> bool:
    try:
        answer = client.recv(1 << 12)
    except OSError:
        return True
    return answer == b"" or b"503" in answer
