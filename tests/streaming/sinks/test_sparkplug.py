"""Sparkplug B against a real broker: births, numbers, late results, rebirth, death; and the bytes of a payload."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mosquitto import Mosquitto
from edge_ad.errors import DataError, UsageError
from edge_ad.streaming.frame import Event
from edge_ad.streaming.sinks import mqtt_sink
from edge_ad.streaming.sinks.sparkplug import METRICS, SparkplugSink
from edge_ad.streaming.sinks.sparkplug_payload import Metric, decode, encode
from tests.streaming.brokers import Listener, needs_broker
from tests.streaming.fakes import FakeSource
from tests.streaming.results import Told, make_result, wait_until

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
pytest.importorskip("google.protobuf", reason="protobuf is not installed")
_NODE = "spBv1.0/plant/{}/line-3"
_DEVICE = _NODE + "/camera"


class _Host(Listener):
    """A host application: every message as kind, number and metrics."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, int | None, dict[str, Metric]]] = []
        super().__init__(port, "spBv1.0/#")

    def take(self, message: Any) -> None:
        if "/NCMD/" not in message.topic:
            seq, metrics = decode(message.payload)
            self.heard.append((message.topic, seq, {metric.name: metric for metric in metrics}))

    def of(self, kind: str) -> list[tuple[int | None, dict[str, Metric]]]:
        return [(seq, metrics) for topic, seq, metrics in list(self.heard) if topic.split("/")[2] == kind]


@pytest.fixture
def host(broker: Mosquitto) -> Iterator[_Host]:
    host = _Host(broker.port)
    yield host
    host.close()


def _begun(port: int, told: Told | None = None) -> SparkplugSink:
    sink = mqtt_sink(f"mqtt://127.0.0.1:{port}", "plant/line-3/camera")
    assert isinstance(sink, SparkplugSink)
    sink.attach(told or Told())
    sink.begin(FakeSource(None))
    return sink


def _number(metrics: dict[str, Metric]) -> float | bool | str | None:
    return metrics["Result Number"].value


def test_a_payload_has_the_bytes_of_the_specification() -> None:
    metrics = [Metric("bdSeq", "Int64", 3, at_ms=1), Metric("ok", "Boolean", True, at_ms=1)]
    # Fields 1 (timestamp), 2 (metrics: name, timestamp, datatype 4 and 11, value in 11 and 14) and 3 (seq).
    expected = "0802120d0a056264536571180120045803120a0a026f6b1801200b70011807"
    assert encode(metrics, at_ms=2, seq=7) == bytes.fromhex(expected)
    assert decode(bytes.fromhex(expected)) == (7, metrics)
    assert decode(encode([Metric("x", "Int64", -2, 1)], at_ms=2, seq=None)) == (None, [Metric("x", "Int64", -2, 1)])
    with pytest.raises(DataError):
        decode(b"\xff\xff")


@needs_broker
def test_births_come_before_data_with_numbers_that_go_on(broker: Mosquitto, host: _Host) -> None:
    sink = _begun(broker.port)
    wait_until(lambda: bool(host.of("DBIRTH")))
    for index in range(300):
        sink.write(make_result(index, 1.5 if index == 299 else 0.5), None)
    sink.event(Event("alarm", 1.0, text="full"))
    sink.close()
    wait_until(lambda: bool(host.of("NDEATH")))
    topics = [topic for topic, _, _ in host.heard]
    assert topics[:2] == [_NODE.format("NBIRTH"), _DEVICE.format("DBIRTH")]
    assert topics[-1] == _NODE.format("NDEATH")
    numbers = [seq for _, seq, _ in host.heard[:-1]]
    assert numbers == [index % 256 for index in range(303)]
    (_, birth), (_, device), (no_number, death) = (host.of(kind)[0] for kind in ("NBIRTH", "DBIRTH", "NDEATH"))
    assert no_number is None
    assert birth["bdSeq"].value == death["bdSeq"].value == 0
    assert {name: metric.kind for name, metric in device.items()} == METRICS
    assert device["Score"].value is None
    data = [metrics for _, metrics in host.of("DDATA")]
    assert [_number(metrics) for metrics in data[:300]] == list(range(1, 301))
    assert (data[299]["Verdict"].value, data[299]["Is OK"].value, data[299]["Score"].value) == ("NG", False, 1.5)
    assert '"alarm"' in str(data[300]["Event"].value)


@needs_broker
def test_what_waited_for_the_broker_is_historical_and_the_next_birth_has_the_next_number(
    broker: Mosquitto, host: _Host
) -> None:
    told = Told()
    sink = _begun(broker.port, told)
    wait_until(lambda: bool(host.of("DBIRTH")))
    broker.stop()
    wait_until(lambda: told.kinds == ["alarm"])
    for index in range(5):
        sink.write(make_result(index), None)
    host.close()
    broker.start()
    returned = _Host(broker.port)
    try:
        wait_until(lambda: told.kinds == ["alarm", "alarm cleared"])
        sink.write(make_result(5), None)
        wait_until(lambda: any(_number(metrics) == 6 for _, metrics in returned.of("DDATA")))
        for _, metrics in returned.of("NBIRTH"):  # not there where the stream was the first one back
            assert metrics["bdSeq"].value != 0
        late = [metrics["Verdict"].is_historical for _, metrics in returned.of("DDATA")]
        assert late == [True] * (len(late) - 1) + [False]
    finally:
        sink.close()
        returned.close()
    assert sink.dropped == 0


@needs_broker
def test_a_host_asks_for_the_births_again(broker: Mosquitto, host: _Host) -> None:
    sink = _begun(broker.port)
    wait_until(lambda: bool(host.of("DBIRTH")))
    sink.write(make_result(0, 0.5), None)
    wait_until(lambda: bool(host.of("DDATA")))
    host.client.publish(_NODE.format("NCMD"), b"\xff", qos=1)  # what is none is passed over
    command = encode([Metric("Node Control/Rebirth", "Boolean", True)], at_ms=1, seq=0)
    host.client.publish(_NODE.format("NCMD"), command, qos=1)
    wait_until(lambda: len(host.of("DBIRTH")) == 2)
    sink.close()
    (seq, node), (device_seq, device) = host.of("NBIRTH")[1], host.of("DBIRTH")[1]
    assert (seq, device_seq, node["bdSeq"].value, device["Verdict"].value) == (0, 1, 0, "OK")


@needs_broker
def test_the_broker_tells_the_death_of_a_stream_that_is_killed(broker: Mosquitto, host: _Host) -> None:
    program = f"""
import time
from edge_ad.streaming.sinks import mqtt_sink
from tests.streaming.brokers import Listener, needs_broker
from tests.streaming.fakes import FakeSource
sink = mqtt_sink("mqtt://127.0.0.1:{broker.port}", "plant/line-3")
sink.begin(FakeSource(None))
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3]) as process:
        wait_until(lambda: bool(host.of("DBIRTH")))
        process.kill()
    wait_until(lambda: bool(host.of("NDEATH")))
    assert host.of("NDEATH")[0][1]["bdSeq"].value == host.of("NBIRTH")[0][1]["bdSeq"].value


@pytest.mark.parametrize("identity", ["plant", "plant/line/camera/x", "plant/+", "plant/", "a/b#"])
def test_names_that_are_none_are_refused(identity: str) -> None:
    with pytest.raises(UsageError, match="--sparkplug"):
        mqtt_sink("mqtt://127.0.0.1", identity)


def test_a_topic_has_no_place_beside_it() -> None:
    with pytest.raises(UsageError, match="no topic"):
        mqtt_sink("mqtt://127.0.0.1/line-1", "plant/line-3")
