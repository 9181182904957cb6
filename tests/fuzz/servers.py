"""Requests to what listens: the live page, the trigger, the metrics."""

from __future__ import annotations

import random
import re
import socket
import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from tests.fuzz.console import captured
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Target

if TYPE_CHECKING:
    from edge_ad.server import Limits

__all__ = ["MetricsTarget", "PageTarget", "TriggerTarget"]

_ANSWER_S = 12.0
_COMPLETE = re.compile(rb"(GET|POST) /[!-~]* HTTP/1\.[01]\r\n(([A-Za-z-]+: [ -~]*\r\n)*)\r\n")
_PATHS = (
    *(
        "/",
        "/login",
        "/logout",
        "/app.js",
        "/style.css",
        "/../etc/passwd",
        "/%2e%2e/",
        "//x",
        "/" + "a" * 9000,
        "/\xff",
    ),
    *(
        "/metrics",
        "/metrics?x",
        "/trigger",
        "/trigger?id=7",
        "/trigger?id=%ff%00",
        "/trigger?token=secret&id=" + "7" * 900,
    ),
    *("/api/live", "/stream.mjpg", "/api/picture", "/api/finds", "/api/finds/1", "/api/finds/99999999999999999999"),
    *(
        "/api/records.json",
        "/api/records.csv",
        "/api/database.csv",
        "/api/events",
        "/api/trend",
        "/api/trend?span=hour",
    ),
    *("/api/threshold", "/api/pause", "/api/resume", "/api/threshold/preview?threshold=1.5"),
)
_QUERIES = (
    *(
        "?newest=-1",
        "?newest=1e9",
        "?newest=nan",
        "?kind=x",
        "?plain=2",
        "?source=-1",
        "?source=%00",
        "?span=x",
        "?x=" + "&x=" * 500,
    ),
    *(
        "?threshold=nan",
        "?threshold=-inf",
        "?threshold=",
        "?threshold=1e400",
        "?after=-1",
        "?after=99999999999999999999",
    ),
)
_HEADERS = (
    *(
        "Host: 127.0.0.1",
        "Host: evil.example",
        "Origin: http://evil.example",
        "Authorization: Bearer \xff",
        "Cookie: a=b",
    ),
    *("Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999", "Transfer-Encoding: chunked"),
    *(
        "Connection: keep-alive",
        "Range: bytes=0-",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Accept-Encoding: gzip",
    ),
    *("Content-Type: application/json", "X: " + "y" * 3000, "If-None-Match: *", "Authorization: Basic ::::"),
)
_BODIES = (
    *(b"", b"{}", b"[]", b'{"threshold": NaN}', b'{"threshold": 1e999}', b'{"threshold": "x"}', b'{"threshold": -1}'),
    *(b'{"path": "/etc"}', b'{"path": "\\u0000"}', b"token=x", b"5\r\nhello\r\n0\r\n\r\n", b"\xff" * 64, b"[" * 4000),
)


class _ServerTarget(Target):
    """A server answers or closes in time, keeps answering, says no 500, and prints no traceback."""

    share = 0.6
    limit_s = 60.0
    path = "/"

    @abstractmethod
    def port(self) -> int:
        """Where it listens."""

    def make(self, rng: random.Random) -> bytes:
        """A request with strange parts, mostly with damage to its bytes too."""
        content = _request(rng)
        return mutate_bytes(content, rng) if rng.random() < 0.6 else content

    def run(self, content: bytes) -> str:
        """Send it, then ask for something ordinary."""
        with captured() as (_, err):
            problem = self._send(content)
            problem = problem or self._still_answers()
            err.seek(0)
            errors = err.read().decode(errors="replace")
        if "Traceback" in errors:
            return f"traceback: {errors.splitlines()[-1][:200]}"
        return problem

    def _send(self, content: bytes) -> str:
        answer = _exchanged(self.port(), content)
        if answer is None:
            return "hang: neither an answer nor an end"
        status = re.match(rb"HTTP/1\.[01] (\d+)", answer)
        if status and status[1].startswith(b"5") and status[1] not in (b"501", b"503", b"505"):
            return f"answer {status[1].decode()}"
        if not answer and _COMPLETE.fullmatch(content):
            return "no answer to a complete request"
        return ""

    def _still_answers(self) -> str:
        deadline = time.monotonic() + _ANSWER_S
        request = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port()}\r\nConnection: close\r\n\r\n".encode()
        while time.monotonic() < deadline:
            answer = _exchanged(self.port(), request)
            if answer and b" 503 " not in answer[:16]:  # 503: others are being answered
                return ""
        return "hang: does not answer an ordinary request any more"


class PageTarget(_ServerTarget):
    """The live page."""

    name = "page"
    path = "/api/events"

    def open(self) -> None:
        """Start it."""
        from tests.server.live_page import LivePage, judged

        self._page = LivePage(limits=_unhurried())
        self._page.__enter__()
        self._page.show(judged(0))

    def close(self) -> None:
        """Stop it."""
        self._page.__exit__(None, None, None)

    def port(self) -> int:
        """Where it listens."""
        return self._page.port


class TriggerTarget(_ServerTarget):
    """The trigger over HTTP."""

    name = "trigger"
    path = "/trigger"

    def open(self) -> None:
        """Start it."""
        from edge_ad.server import HttpServer, http_trigger

        self._trigger = http_trigger("0?token=secret", HttpServer(limits=_unhurried()))
        self._trigger.open()

    def close(self) -> None:
        """Stop it."""
        self._trigger.close()

    def port(self) -> int:
        """Where it listens."""
        return self._trigger.port


class MetricsTarget(_ServerTarget):
    """The metrics endpoint."""

    name = "metrics"
    path = "/metrics"

    def open(self) -> None:
        """Start it."""
        from edge_ad.server import HttpServer, metrics_sink
        from tests.streaming.fakes import FakeSource
        from tests.streaming.results import make_result

        self._sink = metrics_sink(":0", HttpServer(limits=_unhurried()))
        self._sink.begin(FakeSource(None))
        self._sink.write(make_result(), None)

    def close(self) -> None:
        """Stop it."""
        self._sink.close()

    def port(self) -> int:
        """Where it listens."""
        return self._sink.address.port


def _unhurried() -> Limits:
    """Limits under which refusals are not made to wait."""
    from edge_ad.server import Limits

    return Limits(idle_s=2.0, body_s=0.3, refusals=1_000_000, guesses=1_000_000)


def _request(rng: random.Random) -> bytes:
    method = rng.choice(("GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "get", "BREW"))
    version = rng.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", ""))
    query = rng.choice(_QUERIES) if rng.random() < 0.3 else ""
    lines = [f"{method} {rng.choice(_PATHS)}{query} {version}", *rng.sample(_HEADERS, rng.randrange(5))]
    body = rng.choice(_BODIES)
    if rng.random() < 0.5:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _exchanged(port: int, content: bytes) -> bytes | None:
    """What comes back until the other side ends or a first answer is there; None when nothing happens."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S) as client:
            client.sendall(content)
            if not _COMPLETE.fullmatch(content):  # who closes its side before the answer is there may get none
                client.shutdown(socket.SHUT_WR)
            while len(answer) < 64 and (chunk := client.recv(1 << 16)):
                answer += chunk
    except TimeoutError:
        return None
    except OSError:  # refused or cut off: an end
        return answer
    return answer
