"""Payloads of Sparkplug B: metrics in a Protocol Buffers message.

The message is that of the Sparkplug specification 3.0, chapter 6, as far as it is used here. It is described to the
runtime of protobuf: no maintained package of encoders can be installed beside paho-mqtt 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

from edge_ad.errors import DataError, require

__all__ = ["DataType", "Metric", "decode", "encode"]

DataType: TypeAlias = Literal["Int64", "UInt64", "Double", "Boolean", "String"]
_TYPES: dict[DataType, tuple[int, str]] = {  # number of the type, field of the value
    "Int64": (4, "long_value"),
    "UInt64": (8, "long_value"),
    "Double": (10, "double_value"),
    "Boolean": (11, "boolean_value"),
    "String": (12, "string_value"),
}
_NUMBERS = {number: name for name, (number, _) in _TYPES.items()}
# Kind of a field as protobuf numbers them: 1 double, 4 uint64, 8 bool, 9 string, 11 message, 13 uint32.
_PAYLOAD = (("timestamp", 1, 4), ("metrics", 2, 11), ("seq", 3, 4))
_METRIC = (
    ("name", 1, 9),
    ("alias", 2, 4),
    ("timestamp", 3, 4),
    ("datatype", 4, 13),
    ("is_historical", 5, 8),
    ("is_null", 7, 8),
)
_VALUES = (
    ("int_value", 10, 13),
    ("long_value", 11, 4),
    ("double_value", 13, 1),
    ("boolean_value", 14, 8),
    ("string_value", 15, 9),
)
_MESSAGE, _REPEATED, _OPTIONAL = 11, 3, 1


@dataclass(frozen=True)
class Metric:
    """A named value.

    Attributes:
        name: As in the birth certificate.
        kind: Type of the value.
        value: The value; None for null. A number that is not finite is null too.
        at_ms: When it was so, in milliseconds since the epoch.
        is_historical: Whether it is told late, and is not the newest.
    """

    name: str
    kind: DataType
    value: float | bool | str | None
    at_ms: int = 0
    is_historical: bool = False


def encode(metrics: Sequence[Metric], *, at_ms: int, seq: int | None) -> bytes:
    """A payload.

    Args:
        metrics: What is told.
        at_ms: When it is sent, in milliseconds since the epoch.
        seq: Number of the message, 0 to 255; None in a death certificate.

    Raises:
        MissingDependencyError: protobuf is not installed.
    """
    payload = _message_class()(timestamp=at_ms)
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        number, field = _TYPES[metric.kind]
        entry = payload.metrics.add(name=metric.name, timestamp=metric.at_ms or at_ms, datatype=number)
        if metric.is_historical:
            entry.is_historical = True
        if metric.value is None or (isinstance(metric.value, float) and not math.isfinite(metric.value)):
            entry.is_null = True
        else:
            setattr(entry, field, _unsigned(metric.value) if field == "long_value" else metric.value)
    return bytes(payload.SerializeToString())


def decode(content: bytes) -> tuple[int | None, list[Metric]]:
    """The number of a message, and those of its metrics that have a name and a type that is known here.

    Raises:
        DataError: It is no such message.
        MissingDependencyError: protobuf is not installed.
    """
    payload, error = _message_class()(), require("google.protobuf.message", extra="sparkplug").DecodeError
    try:
        payload.ParseFromString(content)
    except error as found:
        raise DataError("The message is no payload of Sparkplug B.") from found
    known = [entry for entry in payload.metrics if entry.name and entry.datatype in _NUMBERS]
    return payload.seq if payload.HasField("seq") else None, [_metric(entry) for entry in known]


def _unsigned(value: Any) -> int:
    """A whole number of 64 bits, one below zero as its two's complement."""
    return int(value) % 2**64


def _metric(entry: Any) -> Metric:
    kind = _NUMBERS[entry.datatype]
    value = None if entry.is_null else getattr(entry, _TYPES[kind][1])
    if kind == "Int64" and value is not None and value >= 2**63:
        value -= 2**64
    return Metric(entry.name, kind, value, entry.timestamp, entry.is_historical)


@cache
def _message_class() -> Any:
    """The message as a class of protobuf's."""
    descriptors = require("google.protobuf.descriptor_pb2", extra="sparkplug")
    pools = require("google.protobuf.descriptor_pool", extra="sparkplug")
    factory = require("google.protobuf.message_factory", extra="sparkplug")
    file = descriptors.FileDescriptorProto(name="edge_ad_sparkplug_b.proto", package="edge_ad.sparkplug")
    metric, payload = file.message_type.add(name="Metric"), file.message_type.add(name="Payload")
    metric.oneof_decl.add(name="value")
    for name, number, kind in _METRIC:
        metric.field.add(name=name, number=number, type=kind, label=_OPTIONAL)
    for name, number, kind in _VALUES:
        metric.field.add(name=name, number=number, type=kind, label=_OPTIONAL, oneof_index=0)
    for name, number, kind in _PAYLOAD:
        label = _REPEATED if kind == _MESSAGE else _OPTIONAL
        field = payload.field.add(name=name, number=number, type=kind, label=label)
        if kind == _MESSAGE:
            field.type_name = ".edge_ad.sparkplug.Metric"
    pool = pools.DescriptorPool()
    pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName("edge_ad.sparkplug.Payload"))
