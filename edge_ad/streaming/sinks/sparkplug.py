"""Publishes verdicts to an MQTT broker as an edge node of Sparkplug B, with birth and death certificates."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError, UsageError, require
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.mqtt import Broker
from edge_ad.streaming.records.schema import event_record, record_of
from edge_ad.streaming.sinks.broker import BrokerSink
from edge_ad.streaming.sinks.sparkplug_payload import DataType, Metric, decode, encode
from edge_ad.strict_json import to_json

__all__ = ["METRICS", "SparkplugSink"]

METRICS: dict[str, DataType] = {
    "Result Number": "UInt64",
    "Verdict": "String",
    "Is OK": "Boolean",
    "Score": "Double",
    "Threshold": "Double",
    "Reason": "String",
    "Regions": "String",
    "Source": "String",
    "Frame": "UInt64",
    "Path": "String",
    "Bundle": "String",
    "Event": "String",
}
"""The metrics of the device and their types."""

_REBIRTH = "Node Control/Rebirth"
_CAPACITY = 1000  # results and events that wait for the broker
_ID = re.compile(r"[^/+#\0]{1,64}")


class SparkplugSink(BrokerSink):
    """An edge node with one device, whose metrics are those of the newest verdict and event.

    NBIRTH and DBIRTH after each connection and whenever a host asks for them (``Node Control/Rebirth``), DDATA for each
    verdict and event, NDEATH as the last will and at the end. Sparkplug asks for QoS 0: what is on its way when the
    connection breaks may be lost. While the broker is away, up to a thousand results wait; they are told as historical
    once it is back, before newer ones. ``Result Number`` counts them all, so that a gap is seen.

    Args:
        broker: Where to publish; its address has no topic.
        identity: ``GROUP/NODE`` or ``GROUP/NODE/DEVICE``; the device is ``inspection`` if not given.

    Raises:
        MissingDependencyError: paho-mqtt or protobuf is not installed.
        UsageError: The identity or the address cannot be used.
    """

    def __init__(self, broker: Broker, identity: str) -> None:
        require("google.protobuf", extra="sparkplug")
        if broker.topic:
            raise UsageError("With --sparkplug the broker's address has no topic.", "The names of Sparkplug are it.")
        super().__init__(broker)
        self._client.on_pre_connect, self._client.on_message = self._prepare, self._commanded
        self._group, self._node, self._device = _identity(identity)
        self._lock = threading.RLock()
        self._births, self._seq, self._results = -1, 0, 0
        self._newest: dict[str, Metric] = {name: Metric(name, kind, None) for name, kind in METRICS.items()}
        self._waiting: deque[list[Metric]] = deque()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Publish a verdict."""
        self._results += 1
        record = record_of(result, self._source_name)
        values = {
            "Result Number": self._results,
            "Verdict": record["verdict"],
            "Is OK": record["verdict"] == "OK",
            "Score": record["score"],
            "Threshold": record["threshold"],
            "Reason": record["reason"],
            "Regions": to_json(record["regions"]),
            "Source": record["source"],
            "Frame": record["frame"],
            "Path": record["path"],
            "Bundle": record["bundle"],
        }
        at_ms = int(1e3 * result.frame.captured_unix)
        self._tell([Metric(name, METRICS[name], value, at_ms) for name, value in values.items()])

    def event(self, event: Event) -> None:
        """Publish an event, as JSON in a metric."""
        self._tell([Metric("Event", "String", to_json(event_record(event)), int(1e3 * event.at_unix))])

    def _greet(self) -> None:
        self._client.subscribe(self._topic("NCMD"), qos=1)
        with self._lock:
            self._give_birth()
            self._is_up.set()
            while self._waiting:
                late = [replace(metric, is_historical=True) for metric in self._waiting.popleft()]
                self._publish("DDATA", late)

    def _farewell(self) -> Any:
        return self._client.publish(self._topic("NDEATH"), self._death(), qos=1)

    def _left(self) -> int:
        return len(self._waiting)

    def _tell(self, metrics: list[Metric]) -> None:
        with self._lock:
            self._newest |= {metric.name: metric for metric in metrics}
            if self._is_up.is_set():
                self._publish("DDATA", metrics)
                return
            self._waiting.append(metrics)
            if len(self._waiting) > _CAPACITY:
                self._waiting.popleft()
                self.dropped += 1

    def _publish(self, kind: str, metrics: list[Metric]) -> None:
        """A message with the next number; inside the lock, so that the order on the wire is that of the numbers."""
        content = encode(metrics, at_ms=_now_ms(), seq=self._seq)
        self._seq = (self._seq + 1) % 256
        self._client.publish(self._topic(kind, of_device=kind.startswith("D")), content, qos=0)

    def _prepare(self, _client: Any, _data: object) -> None:
        """Before each connection: the last will has the number of the birth that follows."""
        with self._lock:
            self._births = (self._births + 1) % 256
            self._client.will_set(self._topic("NDEATH"), self._death(), qos=1, retain=False)

    def _give_birth(self) -> None:
        self._seq = 0
        self._publish("NBIRTH", [self._birth_number(), Metric(_REBIRTH, "Boolean", False)])
        self._publish("DBIRTH", list(self._newest.values()))

    def _commanded(self, _client: Any, _data: object, message: Any) -> None:
        with suppress(DataError):
            _, metrics = decode(message.payload)
            if any(metric.name == _REBIRTH and metric.value is True for metric in metrics):
                with self._lock:
                    self._give_birth()

    def _gone(self, *told: Any) -> None:
        with self._lock:  # what is told from now on waits
            self._is_up.clear()
        super()._gone(*told)

    def _birth_number(self) -> Metric:
        return Metric("bdSeq", "Int64", self._births)

    def _death(self) -> bytes:
        return encode([self._birth_number()], at_ms=_now_ms(), seq=None)

    def _topic(self, kind: str, *, of_device: bool = False) -> str:
        node = f"spBv1.0/{self._group}/{kind}/{self._node}"
        return f"{node}/{self._device}" if of_device else node


def _identity(text: str) -> tuple[str, str, str]:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(_ID.fullmatch(part) for part in parts):
        message = "--sparkplug names a group, a node and perhaps a device, without + and #."
        raise UsageError(message, "Such as --sparkplug plant-1/line-3 or plant-1/line-3/camera.")
    return parts[0], parts[1], parts[2] if len(parts) > 2 else "inspection"


def _now_ms() -> int:
    return int(1e3 * time.time())
