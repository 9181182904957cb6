"""A network camera that speaks RTSP: H.264 over the RTSP connection itself, to one viewer after the other."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import struct
import threading
from fractions import Fraction

import numpy as np
import pytest

from benchmarks.local_program import free_port
from tests.streaming.results import PATIENCE_S

_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_FPS = 30


def _encoded(frames: int, size_hw: tuple[int, int]) -> list[list[bytes]]:
    """NAL units of each frame, a key frame first of every five; frame k is grey of brightness 40 + 40 · (k mod 5)."""
    av = pytest.importorskip("av", reason="PyAV encodes the H.264 of the RTSP camera")
    codec = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = size_hw
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, _FPS), Fraction(_FPS)
    codec.options = {"tune": "zerolatency", "g": "5", "preset": "ultrafast"}
    packets = []
    for number in range(frames):
        grey = np.full((*size_hw, 3), 40 + 40 * (number % 5), np.uint8)
        packets += codec.encode(av.VideoFrame.from_ndarray(grey, format="bgr24"))
    packets += codec.encode(None)
    return [[unit for unit in _START_CODE.split(bytes(packet)) if unit] for packet in packets]


class RtspCamera:
    """Can be switched off and on again at the same port."""

    def __init__(self, size_hw: tuple[int, int] = (48, 64)) -> None:
        self._frames = _encoded(10, size_hw)
        self._parameters = [unit for unit in self._frames[0] if unit[0] & 0x1F in (7, 8)]
        self._is_on = threading.Event()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/line"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.05)
        self._is_on.set()
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_on.clear()
        if self._thread is not None:
            self._thread.join(PATIENCE_S)
        if self._listener is not None:
            self._listener.close()

    def _serve(self, listener: socket.socket) -> None:
        while self._is_on.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        while request := connection.recv(4096).decode():
            method = request.split(" ", 1)[0]
            number = re.search(r"CSeq: *(\d+)", request)
            head = f"RTSP/1.0 200 OK\r\nCSeq: {number.group(1) if number else 0}\r\nSession: 1\r\n"
            connection.sendall((head + self._reply(method)).encode())
            if method == "PLAY":
                self._play(connection)
                return

    def _reply(self, method: str) -> str:
        if method == "DESCRIBE":
            sets = ",".join(base64.b64encode(unit).decode() for unit in self._parameters)
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=line\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                f"a=rtpmap:96 H264/90000\r\na=framerate:{_FPS}\r\na=control:track1\r\n"
                f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={sets}\r\n"
            )
            return f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        if method == "SETUP":
            return "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        return "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"

    def _play(self, connection: socket.socket) -> None:
        sequence, frame, pause = 0, 0, threading.Event()
        while self._is_on.is_set():
            units = self._frames[frame % len(self._frames)]
            for unit in units:
                kind = 96 | (0x80 if unit is units[-1] else 0)
                header = struct.pack(">BBHII", 0x80, kind, sequence & 0xFFFF, frame * 90000 // _FPS, 1)
                connection.sendall(struct.pack(">cBH", b"$", 0, len(header) + len(unit)) + header + unit)
                sequence += 1
            frame += 1
            pause.wait(1 / _FPS)
