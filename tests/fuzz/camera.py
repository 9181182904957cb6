"""Answers of a network camera: headers, parts of MJPEG, and pictures in them."""

from __future__ import annotations

import random
import time

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources.http_stream import HttpSource
from tests.fuzz.console import captured
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Target
from tests.streaming.sources.scripted_server import HEAD, jpeg, part, serving

__all__ = ["CameraTarget"]

_FRAMES = 4
_TIMEOUT_S = 0.5
_LONGEST_READ_S = 30.0  # of a timeout of half a second, on a busy machine
_HEADS = (
    *(HEAD, HEAD, HEAD, b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=--frame\r\n\r\n"),
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=\r\n\r\n",
    b'HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary="fr\xe9me"\r\n\r\n',
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary*=utf-8''frame\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/mixed; boundary=frame\r\n\r\nzz\r\n",
    *(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\r\n\r\n", b"HTTP/1.1 200\r\n\r\n", b"\0" * 100),
    *(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"),
    *(b"HTTP/1.1 999 \xff\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, b"X: y\r\n" * 300, b""),
)


class CameraTarget(Target):
    """A camera that sends anything gives frames, ends, or is refused in one line, within its timeout."""

    name = "camera"
    limit_s = 60.0

    def make(self, rng: random.Random) -> bytes:
        """A short stream with damage."""
        parts = [part(jpeg(60 + 40 * index), announced=_length(rng), extra=_extra(rng)) for index in range(3)]
        body = b"".join(parts)
        if rng.random() < 0.7:
            body = mutate_bytes(body, rng)
        content = rng.choice(_HEADS) + body
        return mutate_bytes(content, rng) if rng.random() < 0.3 else content

    def run(self, content: bytes) -> str:
        """Read some frames of it."""
        with captured() as (_, err):
            problem = _read(content)
            err.seek(0)
            errors = err.read().decode(errors="replace")
        return f"traceback: {errors.splitlines()[-1][:200]}" if "Traceback" in errors else problem


def _read(content: bytes) -> str:
    began = time.monotonic()
    with serving([content]) as url:
        source = HttpSource(url, timeout_s=_TIMEOUT_S)
        try:
            with source:
                frames = [frame for _ in range(_FRAMES) if (frame := source.read()) is not None]
        except DeviceError:
            frames = []
    if any(frame.ndim != 3 or frame.shape[2] != 3 for frame in frames):
        return "a frame that is no BGR picture"
    if time.monotonic() - began > 3 * _LONGEST_READ_S:
        return "hang: longer than its timeout"
    return ""


def _length(rng: random.Random) -> int | None:
    return rng.choice((None, None, None, 0, 1, 1 << 20, 1 << 62))


def _extra(rng: random.Random) -> bytes:
    return rng.choice((b"", b"", b"X-Timestamp: 1\r\n", b"Content-Length: 7\r\n", b"A" * 20000, b": \r\n", b"\n\n"))
