"""MQTT against a real broker: topics, a restart, the last will, a login, TLS."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mosquitto import Mosquitto
from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Event
from edge_ad.streaming.mqtt import Broker
from edge_ad.streaming.sinks import mqtt_sink
from edge_ad.streaming.sinks.mqtt import MqttSink
from tests.streaming.brokers import Listener, broker_with_password, let_others_read, needs_broker
from tests.streaming.fakes import FakeSource
from tests.streaming.results import Told, make_result, wait_until

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")


class _Subscriber(Listener):
    """Everything that is published under line-1, as topic and payload."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, str]] = []
        super().__init__(port, "line-1/#", name="subscriber")

    def take(self, message: Any) -> None:
        self.heard.append((message.topic, message.payload.decode()))

    def frames(self) -> list[int]:
        return [json.loads(payload)["frame"] for topic, payload in list(self.heard) if topic == "line-1/verdict"]


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[_Subscriber]:
    subscriber = _Subscriber(broker.port)
    yield subscriber
    subscriber.close()


def _begun(port: int, told: Told | None = None) -> MqttSink:
    sink = mqtt_sink(f"mqtt://127.0.0.1:{port}/line-1")
    assert isinstance(sink, MqttSink)
    sink.attach(told or Told())
    sink.begin(FakeSource(None))
    return sink


@needs_broker
def test_verdicts_events_and_whether_it_is_online_are_published(broker: Mosquitto, subscriber: _Subscriber) -> None:
    sink = _begun(broker.port)
    sink.write(make_result(3), None)
    sink.event(Event("alarm cleared", 0.0, text="well", data={"alarm": "records"}))
    sink.close()
    wait_until(lambda: ("line-1/status", "offline") in subscriber.heard)
    by_topic = dict(subscriber.heard)
    assert ("line-1/status", "online") in subscriber.heard
    assert json.loads(by_topic["line-1/verdict"])["verdict"] == "NG"
    assert json.loads(by_topic["line-1/event/alarm-cleared"])["data"] == {"alarm": "records"}
    assert sink.dropped == 0


@needs_broker
def test_nothing_is_lost_when_the_broker_restarts(broker: Mosquitto, subscriber: _Subscriber) -> None:
    told = Told()
    sink = _begun(broker.port, told)
    sink.write(make_result(0), None)
    wait_until(lambda: subscriber.frames() == [0])
    broker.stop()
    wait_until(lambda: told.kinds == ["alarm"])
    for number in range(1, 50):
        sink.write(make_result(number), None)
    subscriber.is_ready = False
    broker.start()
    wait_until(lambda: subscriber.is_ready)
    sink.write(make_result(50), None)
    wait_until(lambda: told.kinds == ["alarm", "alarm cleared"])
    sink.close()
    assert sink.dropped == 0
    # What the broker hands out before the subscriber is back is the broker's to keep; the rest must all be here.
    wait_until(lambda: 50 in subscriber.frames())


@needs_broker
def test_what_waits_for_the_broker_is_delivered_in_order(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    sink = _begun(broker.port)  # the line starts before its broker
    for number in range(30):
        sink.write(make_result(number), None)
    broker.start()
    subscriber = _Subscriber(broker.port)
    try:
        sink.write(make_result(30), None)
        wait_until(lambda: 30 in subscriber.frames())
        sink.close()
        assert sink.dropped == 0
        assert subscriber.frames() == sorted(subscriber.frames())
    finally:
        subscriber.close()
        broker.stop()


@needs_broker
def test_the_last_will_says_offline_when_the_stream_is_killed(broker: Mosquitto, subscriber: _Subscriber) -> None:
    program = f"""
import sys, time
from edge_ad.streaming.sinks import mqtt_sink
from tests.streaming.brokers import Listener, broker_with_password, let_others_read, needs_broker
from tests.streaming.fakes import FakeSource
sink = mqtt_sink("mqtt://127.0.0.1:{broker.port}/line-1")
sink.begin(FakeSource(None))
time.sleep(600)
"""
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root) as process:
        wait_until(lambda: ("line-1/status", "online") in subscriber.heard)
        process.kill()
    wait_until(lambda: ("line-1/status", "offline") in subscriber.heard)


def test_a_broker_that_is_never_there_costs_a_bounded_queue_and_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.streaming.sinks.broker._CONNECT_S", 0.05)
    monkeypatch.setattr("edge_ad.streaming.sinks.broker._CLOSE_S", 0.2)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        told = Told()
        sink = _begun(nobody.getsockname()[1], told)
        for number in range(1500):
            sink.write(make_result(number), None)
        assert sink.dropped == 500
        sink.event(Event("alarm", 0.0))  # events have room that verdicts do not take
        assert sink.dropped == 500
        wait_until(lambda: told.kinds == ["alarm"])
        assert "cannot be reached" in told.events[0].text
        sink.close()
        assert sink.dropped == 1501


@needs_broker
def test_a_login_is_used_and_a_wrong_one_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = broker_with_password(tmp_path)
    broker.start()
    try:
        monkeypatch.setattr("edge_ad.streaming.sinks.broker._CLOSE_S", 0.2)
        monkeypatch.setenv("EDGE_AD_MQTT_USER", "line")
        for password, expected in (("wrong", ["alarm"]), ("s3cret", [])):
            monkeypatch.setenv("EDGE_AD_MQTT_PASSWORD", password)
            told = Told()
            sink = _begun(broker.port, told)
            wait_until(lambda sink=sink, told=told: sink._client.is_connected() or bool(told.kinds))  # type: ignore[misc]
            assert told.kinds == expected
            assert "s3cret" not in repr(sink._broker)
            sink.close()
    finally:
        broker.stop()


@needs_broker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused socket to the GC
def test_tls_trusts_only_the_certificates_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl here")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, "req", "-x509", *kind, *subject, *files], check=True, capture_output=True)
    for path in (key, certificate):
        path.chmod(0o644)
    let_others_read(tmp_path)
    broker = Mosquitto(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}\n")
    broker.start()
    monkeypatch.setattr("edge_ad.streaming.sinks.broker._CONNECT_S", 0.5)
    monkeypatch.setattr("edge_ad.streaming.sinks.broker._CLOSE_S", 0.2)
    try:
        for ca_file, is_connected in ((certificate, True), (None, False)):
            if ca_file is None:
                monkeypatch.delenv("EDGE_AD_MQTT_CA")
            else:
                monkeypatch.setenv("EDGE_AD_MQTT_CA", str(ca_file))
            told = Told()
            sink = mqtt_sink(f"mqtts://127.0.0.1:{broker.port}/line-1")
            assert isinstance(sink, MqttSink)
            sink.attach(told)
            sink.begin(FakeSource(None))
            wait_until(lambda sink=sink, told=told: sink._client.is_connected() or bool(told.kinds))  # type: ignore[misc]
            assert sink._client.is_connected() == is_connected
            sink.close()
    finally:
        broker.stop()


def test_an_address_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "PASSWORD", "CA"):
        monkeypatch.delenv(f"EDGE_AD_MQTT_{name}", raising=False)
    assert Broker.parse("mqtt://host/line%201/cam") == Broker("host", 1883, False, "line 1/cam")
    assert Broker.parse("mqtts://u:p%40@[::1]:99/x") == Broker("::1", 99, True, "x", "u", "p@")
    assert Broker.parse("mqtt://host/a/+/#") == Broker("host", 1883, False, "a/+/#")


@pytest.mark.parametrize(
    "url", ["", "host", "http://host", "mqtt://", "mqtt://host:port", "mqtt://host/a/#", "mqtt://h?x"]
)
def test_what_is_no_broker_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        mqtt_sink(url)
