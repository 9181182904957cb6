"""MQTT brokers: addresses, and connections that end in bounded time."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from edge_ad.credentials import MQTT_CA, MQTT_PASSWORD, MQTT_USER, credential
from edge_ad.errors import UsageError, require
from edge_ad.masked_address import ENCODE_LOGIN, is_ambiguous, masked_address

__all__ = ["Broker", "BrokerConnection", "warn_when_away"]

_KEEP_ALIVE_S = 15
_CONNECT_S = 5.0
_AGAIN_S = 1.0
_LONGEST_RECONNECT_S = 10


@dataclass(frozen=True)
class Broker:
    """A broker, and what is published or subscribed to there.

    Attributes:
        host: Name or address.
        port: TCP port.
        is_tls: Whether the connection is encrypted.
        topic: Path of the address: a topic, a filter or a prefix; empty for none.
        user: Login; None for none.
        password: Of the login; never shown.
        ca_file: Certificates to trust instead of the system's; None for those.
    """

    host: str
    port: int
    is_tls: bool
    topic: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Take ``mqtt(s)://[user[:password]@]host[:port][/topic]``.

        EDGE_AD_MQTT_USER and EDGE_AD_MQTT_PASSWORD stand in for a login that is not in the URL; EDGE_AD_MQTT_CA names
        a file of certificates to trust.

        Raises:
            UsageError: It is no such URL.
        """
        problem = UsageError("The broker's address is no mqtt:// or mqtts:// URL.", "Such as mqtt://host:1883/line-1")
        authority, _, topic = url.partition("://")[2].partition("/")  # a # in a topic is a wildcard, not a fragment
        try:
            parts = urlsplit(f"{url.partition('://')[0]}://{authority}")
            port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        except ValueError:  # its message quotes what it could not read, which may be a password
            raise problem from None
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or set(authority) & set("?#") or "?" in topic:
            raise problem
        if is_ambiguous(url):
            raise UsageError("The broker's address can be read in two ways.", ENCODE_LOGIN)
        masked_address(url)  # remember what no message may quote
        user = unquote(parts.username) if parts.username else credential(MQTT_USER)
        password = unquote(parts.password) if parts.password else credential(MQTT_PASSWORD)
        is_tls, topic = parts.scheme == "mqtts", unquote(topic).lstrip("/")
        return cls(parts.hostname, port, is_tls, topic, user, password, credential(MQTT_CA))

    def prefix(self) -> str:
        """The topic as a prefix to publish under: ``edge-ad/<name of this machine>`` if it has none.

        Raises:
            UsageError: It has a wildcard.
        """
        prefix = self.topic.strip("/")
        if any(sign in "+#\0" for sign in prefix):
            raise UsageError("An MQTT topic to publish to has no + and no #.", "Such as mqtt://host:1883/line-1")
        return prefix or f"edge-ad/{re.sub('[^A-Za-z0-9_.-]', '-', socket.gethostname())}"

    def client(self, on_error: Callable[[Exception], None]) -> Any:
        """A client of paho-mqtt with this login and these certificates; it connects again after an error in its thread.

        Args:
            on_error: Told, in the client's thread, what it failed with: a packet that cannot be sent, a callback of
                ours.

        Raises:
            MissingDependencyError: paho-mqtt is not installed.
            UsageError: The file of certificates cannot be used.
        """
        client = _client_class()(on_error)
        client.connect_timeout = _CONNECT_S
        client.reconnect_delay_set(min_delay=1, max_delay=_LONGEST_RECONNECT_S)
        if self.user is not None:
            client.username_pw_set(self.user, self.password)
        if self.is_tls:
            self._use_tls(client)
        return client

    def _use_tls(self, client: Any) -> None:
        try:
            client.tls_set(ca_certs=self.ca_file)
        except (OSError, ValueError) as error:
            message = f"The certificates {self.ca_file} cannot be used: {error}."
            raise UsageError(message, f"{MQTT_CA} names a PEM file.") from error


def warn_when_away(client: Any, broker: Broker, warn: Callable[[str], None]) -> None:
    """Warn when the broker does not answer: once each time that it is away, in the client's thread.

    Args:
        client: Of the broker, with its callbacks.
        broker: Where it connects.
        warn: Called with a line.
    """
    is_told, connected = threading.Event(), client.on_connect

    def answered(*arguments: Any) -> None:
        is_told.clear()
        connected(*arguments)

    def failed(*_: object) -> None:
        if not is_told.is_set():
            is_told.set()
            warn(f"The MQTT broker {broker.host}:{broker.port} does not answer; it is tried again.")

    client.on_connect, client.on_connect_fail = answered, failed


class BrokerConnection:
    """Connects a client in its own thread, and again whenever the connection is lost.

    Args:
        client: With its callbacks.
        broker: Where to connect.
    """

    def __init__(self, client: Any, broker: Broker) -> None:
        self._client = client
        client.connect_async(broker.host, broker.port, keepalive=_KEEP_ALIVE_S)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Disconnect, and wait no longer than this: a look-up or a broker that hangs is abandoned."""
        self._client.disconnect()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._client.loop_forever(retry_first_connection=True)


@cache
def _client_class() -> Any:
    """paho-mqtt's client, whose thread reports errors and connects again, instead of ending silently."""
    paho: Any = require("paho.mqtt.client", extra="mqtt")

    class Client(paho.Client):  # type: ignore[misc]
        def __init__(self, on_error: Callable[[Exception], None]) -> None:
            super().__init__(paho.CallbackAPIVersion.VERSION2)
            self.tell_error = on_error
            self.is_over = threading.Event()

        def loop_forever(self, *arguments: Any, **settings: Any) -> Any:
            """What the client's thread does."""
            while True:
                try:
                    return super().loop_forever(*arguments, **settings)
                except Exception as error:
                    self.tell_error(error)
                while not self.is_over.wait(_AGAIN_S) and not self._connects_again():
                    pass
                if self.is_over.is_set():
                    return self._let_go()

        def disconnect(self, *arguments: Any, **settings: Any) -> Any:
            self.is_over.set()
            return super().disconnect(*arguments, **settings)

        def _connects_again(self) -> bool:
            """Connect again; otherwise the rest of a broken packet would be read next."""
            try:
                self.reconnect()
            except Exception:  # reported already; the next try may succeed
                return False
            return True

        def _let_go(self) -> None:
            connection = self.socket()
            if connection is not None:
                connection.close()

    return Client
