"""A thread that a sink or a trigger keeps beside the stream: its end is never silent."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from edge_ad.streaming.frame import Event
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import DatabaseSink, hook_sink, mqtt_sink
from edge_ad.streaming.sinks.base import Outbox
from tests.streaming.fakes import FakeEngine, FakeSource
from tests.streaming.results import Told, wait_until


def test_a_message_that_cannot_be_sent_is_counted_and_those_after_it_are_sent() -> None:
    sent: list[int] = []
    told: list[Exception] = []

    def send(message: int, wait: object) -> None:
        sent.append(10 // message)

    outbox: Outbox[int] = Outbox("test", send, told.append, capacity=8)
    for message in (1, 0, 5):
        outbox.put(message)
    outbox.close(10.0)
    assert sent == [10, 2]
    assert outbox.dropped == 1
    assert [type(error) for error in told] == [ZeroDivisionError]


@pytest.mark.skipif(sys.platform == "win32", reason="there an environment takes any character")
def test_a_hook_goes_on_after_an_id_that_no_environment_can_hold() -> None:
    told = Told()
    sink = hook_sink(f"{sys.executable} -c pass")
    sink.attach(told)
    sink.begin(FakeSource(None))
    sink.event(Event("ng", 0.0, data={"part_id": "\ud800"}))
    wait_until(lambda: told.kinds == ["alarm"])
    sink.event(Event("ng", 0.0, data={"part_id": "7"}))
    wait_until(lambda: told.kinds == ["alarm", "alarm cleared"])
    sink.close()
    assert sink.dropped == 1


def test_a_thread_that_ended_with_its_last_record_ends_the_stream(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import edge_ad.streaming.records.store as store

    monkeypatch.setattr(store, "_VERDICT", 17)  # no statement: the thread that writes ends
    with pytest.raises(TypeError):
        run_stream(engine, FakeSource(1), threshold=1.0, sinks=[DatabaseSink(tmp_path / "line.sqlite")])


def test_an_mqtt_client_whose_thread_fails_is_an_alarm_and_tries_again() -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(10.0)
        port = broker.getsockname()[1]
        told, sink = Told(), mqtt_sink(f"mqtt://127.0.0.1:{port}/{'x' * 70_000}")  # no packet has room for that topic
        sink.attach(told)
        sink.begin(FakeSource(None))
        for _ in range(2):
            broker.accept()[0].close()
        wait_until(lambda: told.kinds == ["alarm"])
        sink.close()
    assert "connecting again" in told.events[0].text
