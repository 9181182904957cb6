"""Publishes what a device says of itself to an MQTT broker, as retained messages."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

from edge_ad.fleet.report import DeviceReport
from edge_ad.streaming.mqtt import Broker, BrokerConnection, warn_when_away
from edge_ad.strict_json import to_json

__all__ = ["AGENT_TOPIC", "OFFLINE", "ONLINE", "REPORT_TOPIC", "ReportPublisher"]

REPORT_TOPIC, AGENT_TOPIC = "bundle", "agent"
"""Below the prefix of a device: its newest report, and whether its agent runs."""
ONLINE, OFFLINE = "online", "offline"
_CLOSE_S = 2.0
_HANG_UP_S = 0.5
_log = logging.getLogger(__name__)


class ReportPublisher:
    """Publishes the newest report under ``<prefix>/bundle``, and ``online`` or ``offline`` under ``<prefix>/agent``.

    ``offline`` is the last will: the broker publishes it when the device is gone for some twenty seconds.

    Args:
        broker: Where to publish.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        UsageError: The certificates or the topic cannot be used.
    """

    def __init__(self, broker: Broker) -> None:
        self._prefix = broker.prefix()
        self._lock, self._newest = threading.Lock(), ""
        self._last: Any = None
        self._is_connected = threading.Event()
        self._client = broker.client(lambda error: _log.warning("The MQTT broker cannot be reached: %s", error))
        self._client.on_connect, self._client.on_disconnect = self._connected, self._gone
        self._client.will_set(f"{self._prefix}/{AGENT_TOPIC}", OFFLINE, qos=1, retain=True)
        warn_when_away(self._client, broker, _log.warning)
        self._connection = BrokerConnection(self._client, broker)

    def __enter__(self) -> ReportPublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say that the agent ends, and wait for the broker's acknowledgement, two seconds at most."""
        if self._newest and self._is_connected.wait(_CLOSE_S):
            with suppress(RuntimeError, ValueError):  # the connection was lost
                self._last.wait_for_publish(_CLOSE_S)
                self._send(AGENT_TOPIC, OFFLINE).wait_for_publish(_CLOSE_S)
        self._connection.close(_HANG_UP_S)

    def publish(self, report: DeviceReport) -> None:
        """Publish a report; while the broker is away, the newest one waits."""
        with self._lock:
            self._newest = to_json(report.model_dump())
            if self._is_connected.is_set():
                self._last = self._send(REPORT_TOPIC, self._newest)

    def _send(self, topic: str, text: str) -> Any:
        return self._client.publish(f"{self._prefix}/{topic}", text, qos=1, retain=True)

    def _connected(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            _log.warning("The MQTT broker refuses the connection: %s", reason)
            return
        with self._lock:
            self._send(AGENT_TOPIC, ONLINE)
            if self._newest:
                self._last = self._send(REPORT_TOPIC, self._newest)
            self._is_connected.set()

    def _gone(self, *_: object) -> None:
        self._is_connected.clear()
