"""Listens to what devices say at an MQTT broker."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.fleet.devices import Devices
from edge_ad.fleet.publisher import AGENT_TOPIC, REPORT_TOPIC
from edge_ad.streaming.mqtt import Broker, BrokerConnection, warn_when_away

__all__ = ["FleetListener", "topic_filters"]

_LEVELS = 4
_HANG_UP_S = 0.5
_log = logging.getLogger(__name__)


class FleetListener:
    """Subscribes to the reports below a topic, and again whenever the broker is back.

    Args:
        broker: Its topic is what all devices have before their own; empty for nothing.
        devices: Takes the messages.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        UsageError: The certificates or the topic cannot be used.
    """

    def __init__(self, broker: Broker, devices: Devices) -> None:
        self._devices, self._filters = devices, topic_filters(broker.topic)
        self._is_connected = threading.Event()
        self._client = broker.client(lambda error: _log.warning("The MQTT broker cannot be reached: %s", error))
        self._client.on_connect, self._client.on_disconnect = self._connected, self._gone
        self._client.on_message = self._take
        warn_when_away(self._client, broker, _log.warning)
        self._connection = BrokerConnection(self._client, broker)

    @property
    def is_connected(self) -> bool:
        """Whether the broker answers."""
        return self._is_connected.is_set()

    def __enter__(self) -> FleetListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close(_HANG_UP_S)

    def _connected(self, client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            _log.warning("The MQTT broker refuses the connection: %s", reason)
            return
        client.subscribe([(topic, 1) for topic in self._filters])
        self._is_connected.set()

    def _gone(self, *_: object) -> None:
        self._is_connected.clear()

    def _take(self, _client: Any, _data: object, message: Any) -> None:
        self._devices.take(message.topic, bytes(message.payload), is_retained=bool(message.retain))


def topic_filters(topic: str) -> list[str]:
    """Filters for the reports of devices at a topic and up to four levels below it; ``+`` may stand in it.

    No more is asked for: the verdicts of all streams are below the same topics.

    Raises:
        UsageError: It has a ``#`` elsewhere than at its end.
    """
    start = topic.strip("/").removesuffix("#").strip("/")
    if "#" in start or "\0" in start or any("+" in part and part != "+" for part in start.split("/")):
        raise UsageError(f"{topic} is no topic to listen to.", "Such as mqtt://host:1883/plant-1")
    begin = [start] if start else []
    parts = [[*begin, *["+"] * level] for level in range(_LEVELS + 1)]
    return ["/".join([*part, last]) for part in parts if part for last in (REPORT_TOPIC, AGENT_TOPIC)]
