"""A live page on a free port of this machine, results to show on it, and requests to it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import numpy as np

from edge_ad.prediction import Prediction, Verdict
from edge_ad.server import Limits, User, web_sink
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame, Result, Unjudged
from tests.streaming.fakes import FakeSource
from tests.streaming.results import PATIENCE_S

QUICK = Limits(idle_s=0.4, stall_s=0.4, body_s=0.3)  # for clients that are to be cut: a busy one is, too
PATIENT = Limits(idle_s=PATIENCE_S, stall_s=PATIENCE_S, body_s=PATIENCE_S)


def judged(
    index: int = 0,
    score: float = 0.5,
    *,
    source: int = 0,
    at: float | None = None,
    threshold: float = 1.0,
    pixel: float | None = None,
) -> Result:
    """A frame with a square that is as anomalous as its score, or as another number."""
    anomaly_map = np.zeros((16, 16), np.float32)
    anomaly_map[2:5, 10:13] = score if pixel is None else pixel
    prediction = Prediction(score, anomaly_map)
    verdict = Verdict.judge(prediction, threshold)
    return Result(frame(index, source=source, at=at), prediction, verdict, 1.0, 7.0, 9.0, "hash")


def frame(index: int = 0, *, source: int = 0, at: float | None = None) -> Frame:
    at = time.perf_counter() if at is None else at
    image = np.full((240, 320, 3), 90, np.uint8)
    return Frame(index, image, at, 1_700_000_000.0 + index, 2.0, source=f"cam {source}", source_index=source)


def unjudged(index: int, reason: str) -> Unjudged:
    return Unjudged(frame(index), reason)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LivePage:
    """A sink that is begun, and a client of it. A context manager."""

    def __init__(
        self,
        *,
        token: str | None = None,
        limits: Limits = PATIENT,
        database: Path | None = None,
        corrections: Path | None = None,
        users: Collection[User] = (),
        hosts: Collection[str] = (),
        address: str = "127.0.0.1",
    ) -> None:
        self.control = StreamControl(1.0)
        self.sink = web_sink(
            f"{address}:0",
            token,
            users=users,
            limits=limits,
            database=database,
            corrections=corrections,
            hosts=hosts,
        )
        self.sink.attach(self.control)

    def __enter__(self) -> LivePage:
        self.sink.begin(FakeSource(None, is_live=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sink.close()

    @property
    def port(self) -> int:
        return int(self.sink.url.rpartition(":")[2].strip("/"))

    def show(self, *results: Result) -> None:
        for result in results:
            self.sink.write(result, None)

    def pass_events(self) -> None:
        """What the stream does with the events that the page causes."""
        for event in self.control.take_events():
            self.sink.event(event)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})

    def request(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        source: str = "127.0.0.1",
        timeout_s: float = PATIENCE_S,
    ) -> Answer:
        """The answer to a request from an address of this machine."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s, source_address=(source, 0))
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def log_in(self, token: str, **headers: str) -> Answer:
        """What the form of the login gets."""
        form = {"content-type": "application/x-www-form-urlencoded", **headers}
        return self.request("POST", "/login", urlencode({"token": token}), form)

    def open_stream(self, path: str, **headers: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("GET", path, headers=headers)
        return connection, connection.getresponse()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def raw(self, content: bytes) -> bytes:
        """What comes back for bytes that no client library would send."""
        with self.connect() as client:
            client.sendall(content)
            answer = b""
            while b"\r\n\r\n" not in answer and (chunk := client.recv(1 << 16)):
                answer += chunk
            return answer


def read_state(response: http.client.HTTPResponse) -> Any:
    """The next message of `/api/live`."""
    while not (line := response.readline()).startswith(b"data: "):
        assert line, "the stream of states has ended"
    return json.loads(line[6:])
