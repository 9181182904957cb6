"""The webhook against a real server that fails, refuses, or never answers."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Event
from edge_ad.streaming.sinks import webhook_sink
from edge_ad.streaming.sinks.webhook import Endpoint, WebhookSink
from tests.streaming.fakes import FakeSource
from tests.streaming.results import PATIENCE_S, Told, make_result, wait_until
from tests.streaming.slow_peers import dripping, flooding, peer, silent


class _Receiver(ThreadingHTTPServer):
    """Answers with the statuses it is given, then 204."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.seen: list[tuple[dict[str, object], dict[str, str]]] = []
        self.hangs = threading.Event()
        self.hangs.set()

    @property
    def texts(self) -> list[object]:
        return [body["text"] for body, _ in self.seen]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Receiver)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.hangs.wait(2 * PATIENCE_S)
        server.seen.append((body, dict(self.headers)))
        self.send_response(server.statuses.pop(0) if server.statuses else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    receiver = _Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    receiver.hangs.set()
    receiver.shutdown()
    thread.join()
    receiver.server_close()


def _begun(
    receiver: _Receiver, told: Told | None = None, *, login: str = "", timeout_s: float = PATIENCE_S
) -> WebhookSink:
    endpoint = Endpoint.parse(f"http://{login}127.0.0.1:{receiver.server_port}/ng?line=1")
    sink = WebhookSink(endpoint, timeout_s=timeout_s, first_wait_s=0.01)
    sink.attach(told or Told())
    sink.begin(FakeSource(None))
    return sink


def _event(text: str, kind: str = "ng", **data: object) -> Event:
    return Event(kind, 0.0, text=text, data=data)


def test_a_server_that_fails_first_gets_everything_in_order_and_the_same_key_again(receiver: _Receiver) -> None:
    receiver.statuses = [500, 503, 429]
    told = Told()
    sink = _begun(receiver, told)
    sink.event(_event("first", score=1.5))
    sink.event(_event("second"))
    wait_until(lambda: len(receiver.seen) == 5)
    sink.close()
    assert receiver.texts == ["first"] * 4 + ["second"]
    keys = [headers["Idempotency-Key"] for _, headers in receiver.seen]
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]
    body = receiver.seen[0][0]
    assert (body["event"], body["time"], body["data"]) == ("ng", "1970-01-01T00:00:00.000+00:00", {"score": 1.5})
    assert told.kinds == ["alarm", "alarm cleared"]
    assert sink.dropped == 0


def test_what_the_server_refuses_is_given_up_and_does_not_block_the_rest(receiver: _Receiver) -> None:
    receiver.statuses = [400]
    told = Told()
    sink = _begun(receiver, told)
    sink.event(_event("refused"))
    sink.event(_event("taken"))
    sink.close()
    assert receiver.texts == ["refused", "taken"]
    assert sink.dropped == 1
    assert "status 400" in told.events[0].text


def test_only_events_that_matter_are_posted(receiver: _Receiver) -> None:
    sink = _begun(receiver)
    sink.write(make_result(), None)
    sink.event(_event("good", "part", verdict="OK"))
    sink.event(_event("bad", "part", verdict="NG"))
    sink.close()
    assert receiver.texts == ["bad"]


def test_a_server_that_never_answers_blocks_neither_the_stream_nor_its_end(
    receiver: _Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.streaming.sinks.webhook._CLOSE_S", 0.2)
    receiver.hangs.clear()
    sink = _begun(receiver, timeout_s=0.1)
    started = time.monotonic()
    for number in range(1500):
        sink.event(_event(str(number)))
    sink.close()
    assert time.monotonic() - started < PATIENCE_S  # 1500 times 0.1 s, and an answer, take longer
    assert sink.dropped == 1500


@pytest.mark.parametrize(
    "behave",
    [
        silent,
        dripping(b"HTTP/1.0 200 OK\r\n", itertools.repeat(b"X: y\r\n")),
        flooding(b"", b"HTTP/1.1 100 Go on\r\n\r\n"),
    ],
    ids=["silent", "dripping", "flooding"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_never_comes_to_the_point_is_cut_off(
    behave: Callable[..., None], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.streaming.sinks.webhook._CLOSE_S", 0.2)
    told = Told()
    with peer(behave) as (port, is_met):
        sink = WebhookSink(Endpoint.parse(f"{scheme}://127.0.0.1:{port}/"), timeout_s=0.2, first_wait_s=0.01)
        sink.attach(told)
        sink.begin(FakeSource(None))
        sink.event(_event("x"))
        wait_until(lambda: told.kinds == ["alarm"])  # three tries are over: each has one deadline
        sink.close()
        assert sink.dropped == 1

        patient = WebhookSink(Endpoint.parse(f"{scheme}://127.0.0.1:{port}/"), timeout_s=3600)
        patient.begin(FakeSource(None))
        is_met.clear()
        patient.event(_event("x"))
        assert is_met.wait(PATIENCE_S)
        patient.close()  # returns, although this try has an hour
        assert patient.dropped == 1


def test_a_login_goes_into_the_header_and_a_token_too(receiver: _Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_WEBHOOK_TOKEN", "t0ken")
    for login in ("", "line:s3cret%21@"):
        sink = _begun(receiver, login=login)
        sink.event(_event("x"))
        sink.close()
    assert receiver.seen[0][1]["Authorization"] == "Bearer t0ken"
    assert receiver.seen[1][1]["Authorization"] == f"Basic {base64.b64encode(b'line:s3cret!').decode()}"


@pytest.mark.parametrize("url", ["", "host", "ftp://host/x", "http://", "http://host:port/", "http://host/a b\r\nX: y"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        webhook_sink(url)
