"""Messages of an MQTT broker to the trigger: topics, payloads, and the packets themselves."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time

from edge_ad.errors import DeviceError
from edge_ad.streaming.mqtt import Broker
from edge_ad.streaming.triggers.selection import MqttTrigger
from tests.fuzz.console import captured
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Target

__all__ = ["MqttTarget"]

_CONNECT_ACCEPTED = b"\x20\x02\x00\x00"
_CONNECT, _SUBSCRIBE = 1, 8
_LAST_ID = "the end"
_WAIT_S = 60.0
_PAYLOADS = (b"", b"part 7", b"\xff\xfe\0", b"x" * 5000, "\N{GRINNING FACE}".encode() * 100, b'{"id": NaN}', b"\n" * 40)


class MqttTarget(Target):
    """Whatever a broker sends, the trigger's thread goes on, or the connection is lost, and the id stays short."""

    name = "mqtt"
    share = 0.5
    limit_s = 60.0

    def make(self, rng: random.Random) -> bytes:
        """Some messages, mostly with damage to the packets."""
        packets = [_message(rng.choice(_PAYLOADS), rng.choice((b"line", b"", b"\xff", b"a\0b"))) for _ in range(2)]
        content = b"".join(packets)
        return mutate_bytes(content, rng) if rng.random() < 0.6 else content

    def run(self, content: bytes) -> str:
        """Have a broker send it to the trigger."""
        with captured() as (_, err), _Broker(content) as broker:
            trigger = MqttTrigger(Broker.parse(f"mqtt://127.0.0.1:{broker.port}/line"))
            try:
                with trigger:
                    broker.wait()
                    longest = len(trigger.last_id)
            except DeviceError:
                longest = 0
            err.seek(0)
            errors = err.read().decode(errors="replace")
        if "Traceback" in errors:
            return f"traceback: {errors.splitlines()[-1][:200]}"
        return f"an id of {longest} characters" if longest > 200 else ""


class _Broker:
    """Accepts one client, acknowledges its subscription, sends the content and a last message, and hangs up."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._is_sent = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> _Broker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        self._thread.join(_WAIT_S)

    def wait(self) -> None:
        """Until the client has taken or refused everything."""
        self._is_sent.wait(_WAIT_S)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the client may leave first
            client, _ = self._listener.accept()
            with client:
                client.settimeout(_WAIT_S)
                self._greet(client)
                client.sendall(self._content + _message(_LAST_ID.encode(), b"line"))
                client.shutdown(socket.SHUT_WR)
                deadline = time.monotonic() + _WAIT_S
                while client.recv(4096) and time.monotonic() < deadline:  # until it hangs up too
                    pass
        self._is_sent.set()

    def _greet(self, client: socket.socket) -> None:
        received = b""
        while chunk := client.recv(4096):
            received += chunk
            if received and received[0] >> 4 == _CONNECT and len(received) >= 2 + received[1]:
                client.sendall(_CONNECT_ACCEPTED)
                received = received[2 + received[1] :]
            if received and received[0] >> 4 == _SUBSCRIBE and len(received) >= 4:
                client.sendall(b"\x90\x03" + received[2:4] + b"\x01")
                return


def _message(payload: bytes, topic: bytes) -> bytes:
    content = len(topic).to_bytes(2, "big") + topic + payload
    length, head = len(content), bytearray([0x30])
    while True:
        length, digit = length >> 7, length & 0x7F
        head.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(head) + content
