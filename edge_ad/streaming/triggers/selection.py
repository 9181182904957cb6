"""Parses ``--trigger``; the trigger by MQTT messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from edge_ad.errors import DeviceError, UsageError, require
from edge_ad.masked_address import MASK, masked_address
from edge_ad.streaming.mqtt import Broker, BrokerConnection
from edge_ad.streaming.triggers.base import (
    DIFFERENCE,
    REFRACTORY_S,
    AskedTrigger,
    EveryFrame,
    EveryNth,
    MotionTrigger,
    Trigger,
)

__all__ = ["MqttTrigger", "trigger_from_text"]

_OPEN_S = 5.0
_CLOSE_S = 0.5
_LONGEST_ID = 200
_FORMS = "every, every:3, motion:x1,y1,x2,y2, http:8081, mqtt://host/topic, modbus or opcua"


class MqttTrigger(AskedTrigger):
    """Has the next frame judged for each message, whose text is the id. Reconnects when the broker is back.

    A redelivered message has no effect. A message with another id than the one that still waits for its frame is
    counted in ``lost``, since it cannot be answered.

    Args:
        broker: The broker, and a topic that may hold the wildcards ``+`` and ``#``.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        require("paho.mqtt.client", extra="mqtt")
        self._broker = broker
        self._is_answered = threading.Event()  # the broker has accepted or refused it, or the wait was given up
        self._is_subscribed = self._is_cancelled = False
        self._refusal = ""
        self._connection: BrokerConnection | None = None

    def open(self) -> None:
        """Connect and subscribe. A broker that does not answer now is an error; one that is lost later is waited for.

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
        """Stop waiting for the broker."""
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
        if not message.retain:  # a retained message is an old request, not one for this frame
            identity = message.payload[: 4 * _LONGEST_ID].decode("utf-8", "replace")[:_LONGEST_ID]
            self.ask(identity, is_repeated=message.dup)


def trigger_from_text(text: str, more: Mapping[str, Callable[[str], Trigger]] | None = None) -> Trigger:
    """Parse ``--trigger``.

    ``every`` and ``every:N``; ``motion:x1,y1,x2,y2`` with ``?difference=12&refractory=0.5``;
    ``mqtt://[user:password@]host[:port]/topic``, ``mqtts://`` with TLS, with the variables of `Broker.parse`; and the
    kinds in ``more``: ``modbus`` and ``opcua``, by a PLC; ``http:PORT``, ``http:HOST:PORT`` with ``?token=SECRET``
    (or the variable ``EDGE_AD_TRIGGER_TOKEN``, which no list of processes shows).

    Args:
        text: One of these.
        more: Further kinds → what makes one of them from the rest of the text, or raises ValueError.

    Returns:
        A trigger, not open yet: it is a context manager. One serves all sources of a stream.

    Raises:
        UsageError: It is none of these.
        MissingDependencyError: It needs paho-mqtt, which is not installed.
    """
    kind, _, rest = text.partition(":")
    make = {**_KINDS, **(more or {})}.get(kind.lower())
    if make is None:
        raise UsageError(f"Unknown trigger: {_without_secret(text)}.", f"Write {_FORMS}.")
    try:
        return make(rest)
    except ValueError:
        raise UsageError(f"The trigger {_without_secret(text)} cannot be read.", f"Write {_FORMS}.") from None


def _every(rest: str) -> Trigger:
    if not rest:
        return EveryFrame()
    if int(rest) < 1:
        raise ValueError(rest)
    return EveryNth(int(rest))


def _motion(rest: str) -> Trigger:
    line, _, query = rest.partition("?")
    x1, y1, x2, y2 = (int(number) for number in line.split(","))
    settings = _settings(query, ("difference", "refractory"))
    difference = float(settings.get("difference", DIFFERENCE))
    refractory_s = float(settings.get("refractory", REFRACTORY_S))
    if min(x1, y1, x2, y2) < 0 or (x1, y1) == (x2, y2) or not 0 < difference <= 255 or not 0 <= refractory_s < 1e6:
        raise ValueError(rest)
    return MotionTrigger((x1, y1), (x2, y2), difference=difference, refractory_s=refractory_s)


def _mqtt(rest: str, *, scheme: str = "mqtt") -> Trigger:
    from edge_ad.streaming.mqtt import Broker
    from edge_ad.streaming.triggers.selection import MqttTrigger

    try:
        broker = Broker.parse(f"{scheme}:{rest}")
    except UsageError:
        raise ValueError(rest) from None
    if not broker.topic:
        raise ValueError(rest)
    return MqttTrigger(broker)


def _mqtts(rest: str) -> Trigger:
    return _mqtt(rest, scheme="mqtts")


def _settings(query: str, known: tuple[str, ...]) -> dict[str, str]:
    settings = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if not settings.keys() <= set(known):
        raise ValueError(query)
    return settings


def _without_secret(text: str) -> str:
    """The text without what may be an address or a token."""
    if "://" in text:
        return masked_address(text)
    shown, question, _ = text.partition("?")
    if "@" in shown or "#" in shown:
        kind = text.partition(":")[0]
        return f"{kind if kind.lower() in {*_KINDS, 'http'} else ''}:{MASK}".strip(":")
    return shown if not question or "=" not in text else f"{shown}?{MASK}"


_KINDS: Mapping[str, Callable[[str], Trigger]] = {
    "every": _every,
    "all": _every,
    "motion": _motion,
    "mqtt": _mqtt,
    "mqtts": _mqtts,
}
