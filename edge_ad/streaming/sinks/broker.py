"""What the sinks that publish to an MQTT broker share: the connection, its alarm, and an end in bounded time."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_ad.streaming.mqtt import Broker, BrokerConnection
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["BrokerSink"]

_CONNECT_S, _CLOSE_S, _HANG_UP_S = 5.0, 3.0, 0.5
_LEAST_FAREWELL_S = 0.1


class BrokerSink(Sink):
    """Publishes to a broker that may be away: the stream never waits for it.

    Args:
        broker: Where to publish.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        UsageError: The file of certificates cannot be used.
    """

    delivery = "lossy"

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._name = f"MQTT broker {broker.host}:{broker.port}"
        self._alarm = Alarm("mqtt")
        self._is_up = threading.Event()
        self._connection: BrokerConnection | None = None
        self._late: threading.Timer | None = None
        self._source_name = ""
        self._client = broker.client(self._failed)
        self._client.on_connect, self._client.on_disconnect = self._connected, self._gone

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Connect in the background."""
        self._source_name = source.name
        self._connection = BrokerConnection(self._client, self._broker)
        self._late = threading.Timer(_CONNECT_S, self._say_if_not_connected)
        self._late.daemon = True
        self._late.start()

    def close(self) -> None:
        """Publish what waits and the farewell, for three seconds at most; may be called twice."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._late is not None:
            self._late.cancel()
        close_by = time.monotonic() + _CLOSE_S
        if self._is_up.wait(_CLOSE_S):  # a short stream can end before the connection is made
            last = self._farewell()
            with suppress(RuntimeError, ValueError):  # the connection was lost: the last will reports it
                last.wait_for_publish(max(_LEAST_FAREWELL_S, close_by - time.monotonic()))
        connection.close(_HANG_UP_S)
        self.dropped += self._left()

    @abstractmethod
    def _greet(self) -> None:
        """Publish what comes first on a new connection, then what waits, and set ``_is_up``; in the client's thread."""

    @abstractmethod
    def _farewell(self) -> Any:
        """Publish the last message; gives what paho says of it."""

    @abstractmethod
    def _left(self) -> int:
        """How many messages were not published at the end."""

    def _connected(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._alarm.raise_once(f"{self._name} refuses the connection: {reason}.")
            return
        self._greet()
        self._alarm.clear(f"{self._name} is back.", lost=self.dropped)

    def _gone(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._is_up.clear()
        if self._connection is not None:
            self._alarm.raise_once(f"{self._name} is gone: {reason}.")

    def _failed(self, error: Exception) -> None:
        self._alarm.raise_once(f"{self._name}: the connection failed ({error}); connecting again.")

    def _say_if_not_connected(self) -> None:
        if self._connection is not None and not self._is_up.is_set():
            self._alarm.raise_once(f"{self._name} cannot be reached.")
