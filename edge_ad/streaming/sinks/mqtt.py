"""Publishes verdicts and events to an MQTT broker."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.mqtt import Broker, BrokerConnection
from edge_ad.streaming.records.schema import event_record, record_of
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.hook import Alarm
from edge_ad.streaming.sources.base import Source
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from edge_ad.streaming.control import StreamControl

__all__ = ["MqttSink"]

_CAPACITY = 2000  # messages that the broker has not acknowledged
_VERDICT_CAPACITY = _CAPACITY // 2  # the rest is reserved for events, which must arrive once the broker is back
_LONGEST_RECONNECT_S = 10
_CONNECT_S = 5.0
_CLOSE_S = 3.0
_HANG_UP_S = 0.5


class MqttSink(Sink):
    """Publishes with QoS 1; what the broker has not acknowledged is sent again when it is back.

    Topics under the prefix: ``status`` (``online`` or ``offline``, retained; the last will), ``verdict`` (every judged
    frame), and for each event ``event/<kind>``, with dashes for spaces: ``event/ng``, ``event/alarm-cleared``.

    While the broker is away, up to a thousand verdicts and a thousand events wait; further ones are dropped and
    counted.

    Args:
        broker: Where to publish. Its topic is the prefix; ``edge-ad/<name of this machine>`` if it has none.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        UsageError: The file of certificates or the topic cannot be used.
    """

    delivery = "lossy"

    def __init__(self, broker: Broker) -> None:
        self._broker, self._prefix = broker, broker.prefix()
        self._name = f"MQTT broker {broker.host}:{broker.port}"
        self._alarm = Alarm("mqtt")
        self._client = self._make_client()
        self._lock = threading.Lock()
        self._order = threading.Lock()  # never taken by what paho calls while it holds its own lock of messages
        self._held: deque[tuple[str, str]] = deque()
        self._is_connected = threading.Event()
        self._waiting = 0
        self._connection: BrokerConnection | None = None
        self._source_name = ""
        self._late: threading.Timer | None = None

    def attach(self, control: StreamControl) -> None:
        """Raise alarms there."""
        self._alarm.attach(control)

    def begin(self, source: Source) -> None:
        """Connect in the background: the stream does not wait for the broker."""
        self._source_name = source.name
        self._connection = BrokerConnection(self._client, self._broker)
        self._late = threading.Timer(_CONNECT_S, self._say_if_not_connected)
        self._late.daemon = True
        self._late.start()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Publish a verdict."""
        self._publish("verdict", record_of(result, self._source_name), _VERDICT_CAPACITY)

    def event(self, event: Event) -> None:
        """Publish an event."""
        self._publish(f"event/{event.kind.replace(' ', '-')}", event_record(event), _CAPACITY)

    def close(self) -> None:
        """Wait for acknowledgements, three seconds at most, and say that the stream is offline."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._late is not None:
            self._late.cancel()
        close_by = time.monotonic() + _CLOSE_S
        if self._is_connected.wait(_CLOSE_S):  # a short stream can end before the connection is made
            last = self._send("status", "offline", retain=True)
            with suppress(RuntimeError, ValueError):  # the connection was lost: the last will reports it
                last.wait_for_publish(max(0.1, close_by - time.monotonic()))
        connection.close(_HANG_UP_S)
        with self._lock:
            self.dropped += self._waiting

    def _make_client(self) -> Any:
        client = self._broker.client(self._failed)
        client.on_connect, client.on_disconnect, client.on_publish = self._connected, self._gone, self._acknowledged
        client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        client.reconnect_delay_set(min_delay=1, max_delay=_LONGEST_RECONNECT_S)
        client.max_queued_messages_set(2 * _CAPACITY)  # our own limit applies; this one must not be below it
        return client

    def _publish(self, topic: str, record: dict[str, Any], capacity: int) -> None:
        with self._lock:
            if self._waiting >= capacity:
                self.dropped += 1
                return
            self._waiting += 1
        with self._order:  # while paho connects again, a new message would overtake those that wait in it
            if self._is_connected.is_set():
                self._hand_over(topic, to_json(record))
            else:
                self._held.append((topic, to_json(record)))

    def _send(self, topic: str, payload: str, *, retain: bool = False) -> Any:
        with self._lock:
            self._waiting += 1
        return self._hand_over(topic, payload, retain=retain)

    def _hand_over(self, topic: str, payload: str, *, retain: bool = False) -> Any:
        return self._client.publish(f"{self._prefix}/{topic}", payload, qos=1, retain=retain)

    def _connected(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._alarm.raise_once(f"{self._name} refuses the connection: {reason}.")
            return
        self._send("status", "online", retain=True)
        with self._order:
            while self._held:
                self._hand_over(*self._held.popleft())
            self._is_connected.set()
        self._alarm.clear(f"{self._name} is back.")

    def _gone(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        self._is_connected.clear()
        if self._connection is not None:
            self._alarm.raise_once(f"{self._name} is gone: {reason}.")

    def _failed(self, error: Exception) -> None:
        self._alarm.raise_once(f"{self._name}: the connection failed ({error}); connecting again.")

    def _acknowledged(self, *_: object) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - 1)

    def _say_if_not_connected(self) -> None:
        if self._connection is not None and not self._is_connected.is_set():
            self._alarm.raise_once(f"{self._name} cannot be reached.")
