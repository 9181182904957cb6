"""A camera on the network that sends exactly the bytes a test gives it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from tests.streaming.results import PATIENCE_S

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


def jpeg(brightness: int, *, size_hw: tuple[int, int] = (48, 64)) -> bytes:
    """A picture with some texture whose mean is about the brightness."""
    noise = np.random.default_rng(brightness).integers(0, 20, (*size_hw, 3))
    return bytes(cv2.imencode(".jpg", (noise + brightness - 10).clip(0, 255).astype(np.uint8))[1].tobytes())


def part(content: bytes, *, announced: int | None = None, extra: bytes = b"") -> bytes:
    length = len(content) if announced is None else announced
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n%s\r\n" % (length, extra)
    return head + content + b"\r\n"


@contextmanager
def serving(*answers: Iterable[bytes], requests: list[bytes] | None = None) -> Iterator[str]:
    """Gives the first client the first answer, the second the second; yields the address."""
    requests = [] if requests is None else requests
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(PATIENCE_S)
        thread = threading.Thread(target=_serve, args=(listener, answers, requests), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/video"
        thread.join(PATIENCE_S)


def _serve(listener: socket.socket, answers: tuple[Iterable[bytes], ...], requests: list[bytes]) -> None:
    for answer in answers:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):  # the client may leave first
            requests.append(connection.recv(4096))
            for chunk in answer:
                connection.sendall(chunk)
