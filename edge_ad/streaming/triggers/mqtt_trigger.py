"""A machine that asks for a frame over MQTT: any message to a topic."""

from __future__ import annotations

import threading
from typing import Any

from edge_ad.errors import DeviceError, require
from edge_ad.streaming.mqtt_client import mqtt_client
from edge_ad.streaming.triggers.base import AskedTrigger

__all__ = ["MqttTrigger"]

_CONNECT_S = 5.0
_LONGEST_ID = 200


class MqttTrigger(AskedTrigger):
    """Has the next frame judged for each message; its text is the id. Comes back by itself after the broker did.

    Args:
        host: The broker.
        topic: May hold the wildcards ``+`` and ``#``.
        port: TCP port; None for 1883, or 8883 with TLS.
        user: Name at the broker; empty for none.
        password: Of that user.
        is_encrypted: Use TLS, with the certificates this machine trusts.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        host: str,
        topic: str,
        *,
        port: int | None = None,
        user: str = "",
        password: str = "",
        is_encrypted: bool = False,
    ) -> None:
        super().__init__()
        require("paho.mqtt.client", extra="mqtt")
        self._host, self._topic = host, topic
        self._port = port or (8883 if is_encrypted else 1883)
        self._user, self._password, self._is_encrypted = user, password, is_encrypted
        self._is_subscribed = threading.Event()
        self._refusal = ""
        self._client: Any = None

    def open(self) -> None:
        """Connect and subscribe; a broker that does not answer now is a mistake, one that goes later is waited for."""
        client = self._client = self._make_client()
        try:
            client.connect(self._host, self._port, keepalive=15)
        except (OSError, ValueError) as error:
            self._client = None
            raise DeviceError(
                f"The MQTT broker {self._host}:{self._port} does not answer ({error}).", "Check its address."
            ) from None
        client.loop_start()
        if not self._is_subscribed.wait(_CONNECT_S):
            self.close()
            raise DeviceError(
                f"The MQTT broker {self._host}:{self._port} refuses the topic {self._topic}. {self._refusal}".rstrip(),
                "Check user, password and rights.",
            )

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _make_client(self) -> Any:
        client = mqtt_client(self.fail)
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._is_encrypted:
            client.tls_set()
        client.reconnect_delay_set(min_delay=1, max_delay=2)
        client.connect_timeout = _CONNECT_S
        client.on_connect, client.on_subscribe, client.on_message = self._connected, self._subscribed, self._came
        return client

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"It says: {reason}."
        else:
            client.subscribe(self._topic, qos=1)

    def _subscribed(self, client: Any, data: Any, number: int, reasons: Any, properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = f"It says: {reasons[0]}."
        else:
            self._is_subscribed.set()

    def _came(self, client: Any, data: Any, message: Any) -> None:
        if not message.retain:  # an old request that the broker kept is none for this frame
            self.ask(message.payload[: 4 * _LONGEST_ID].decode("utf-8", "replace")[:_LONGEST_ID])
