"""Publishes verdicts and events to an MQTT broker."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.mqtt import Broker
from edge_ad.streaming.records.schema import event_record, record_of
from edge_ad.streaming.sinks.broker import BrokerSink
from edge_ad.strict_json import to_json

__all__ = ["MqttSink"]

_CAPACITY = 2000  # messages that the broker has not acknowledged
_VERDICT_CAPACITY = _CAPACITY // 2  # the rest is reserved for events, which must arrive once the broker is back


class MqttSink(BrokerSink):
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

    def __init__(self, broker: Broker) -> None:
        self._prefix = broker.prefix()
        super().__init__(broker)
        self._client.on_publish = self._acknowledged
        self._client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        self._client.max_queued_messages_set(2 * _CAPACITY)  # our own limit applies; this one must not be below it
        self._lock = threading.Lock()
        self._order = threading.Lock()  # never taken by what paho calls while it holds its own lock of messages
        self._held: deque[tuple[str, str]] = deque()
        self._waiting = 0

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Publish a verdict."""
        self._publish("verdict", record_of(result, self._source_name), _VERDICT_CAPACITY)

    def event(self, event: Event) -> None:
        """Publish an event."""
        self._publish(f"event/{event.kind.replace(' ', '-')}", event_record(event), _CAPACITY)

    def _greet(self) -> None:
        self._send("status", "online", retain=True)
        with self._order:
            while self._held:
                self._hand_over(*self._held.popleft())
            self._is_up.set()

    def _farewell(self) -> Any:
        return self._send("status", "offline", retain=True)

    def _left(self) -> int:
        with self._lock:
            return self._waiting

    def _publish(self, topic: str, record: dict[str, Any], capacity: int) -> None:
        with self._lock:
            if self._waiting >= capacity:
                self.dropped += 1
                return
            self._waiting += 1
        with self._order:  # while paho connects again, a new message would overtake those that wait in it
            if self._is_up.is_set():
                self._hand_over(topic, to_json(record))
            else:
                self._held.append((topic, to_json(record)))

    def _send(self, topic: str, payload: str, *, retain: bool = False) -> Any:
        with self._lock:
            self._waiting += 1
        return self._hand_over(topic, payload, retain=retain)

    def _hand_over(self, topic: str, payload: str, *, retain: bool = False) -> Any:
        return self._client.publish(f"{self._prefix}/{topic}", payload, qos=1, retain=retain)

    def _acknowledged(self, *_: object) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - 1)
