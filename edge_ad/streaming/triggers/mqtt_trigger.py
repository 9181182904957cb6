"""A machine that asks for a frame over MQTT: any message to a topic."""

from __future__ import annotations

import threading
from typing import Any

from edge_ad.errors import DeviceError, require
from edge_ad.streaming.mqtt import Broker, BrokerConnection
from edge_ad.streaming.triggers.base import AskedTrigger

__all__ = ["MqttTrigger"]

_OPEN_S = 5.0
_CLOSE_S = 0.5
_LONGEST_ID = 200


class MqttTrigger(AskedTrigger):
    """Has the next frame judged for each message; its text is the id. Comes back by itself after the broker did.

    A message that the broker delivers again asks for nothing more. One with another id than the one that still waits
    for its frame is counted in ``lost``: nobody can be answered.

    Args:
        broker: The broker, and a topic that may hold the wildcards ``+`` and ``#``.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        require("paho.mqtt.client", extra="mqtt")
        self._broker = broker
        self._is_answered = threading.Event()  # the broker has taken or refused it, or nobody waits for it any more
        self._is_subscribed = self._is_cancelled = False
        self._refusal = ""
        self._connection: BrokerConnection | None = None

    def open(self) -> None:
        """Connect and subscribe; a broker that does not answer now is a mistake, one that goes later is waited for.

        Raises:
            DeviceError: It cannot be reached or refuses the topic, or does not say so within five seconds.
            UsageError: The file of certificates cannot be used.
        """
        if not self._is_cancelled:
            self._is_answered.clear()
            self._connection = BrokerConnection(self._make_client(), self._broker)
            self._is_answered.wait(_OPEN_S)
        if not self._is_subscribed:
            self.close()
            broker = f"The MQTT broker {self._broker.host}:{self._broker.port}"
            if self._refusal:
                hint = "Check user, password and rights."
                raise DeviceError(f"{broker} refuses the topic {self._broker.topic}. It says: {self._refusal}.", hint)
            raise DeviceError(f"{broker} does not answer.", "Check its address, and its certificates.")

    def cancel(self) -> None:
        """Wait no longer for the broker."""
        self._is_cancelled = True
        self._is_answered.set()

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(_CLOSE_S)
        self._is_subscribed = False

    def _make_client(self) -> Any:
        client = self._broker.client(self.fail)
        client.reconnect_delay_set(min_delay=1, max_delay=2)
        client.on_connect, client.on_subscribe, client.on_message = self._connected, self._subscribed, self._came
        client.on_connect_fail = lambda *_: self._is_answered.set()
        return client

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refuse(reason)
        else:
            client.subscribe(self._broker.topic, qos=1)

    def _subscribed(self, client: Any, data: Any, number: int, reasons: Any, properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refuse(reasons[0])
        else:
            self._is_subscribed = True
            self._is_answered.set()

    def _refuse(self, reason: object) -> None:
        self._refusal = str(reason)
        self._is_answered.set()

    def _came(self, client: Any, data: Any, message: Any) -> None:
        if not message.retain:  # an old request that the broker kept is none for this frame
            identity = message.payload[: 4 * _LONGEST_ID].decode("utf-8", "replace")[:_LONGEST_ID]
            self.ask(identity, is_repeated=message.dup)
