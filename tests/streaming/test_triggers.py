"""Which frames are judged."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.mosquitto import Mosquitto, find_mosquitto
from edge_ad.errors import DeviceError, UsageError
from edge_ad.server import http_trigger
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import mqtt_sink
from edge_ad.streaming.triggers import Trigger, trigger_from_text
from edge_ad.streaming.triggers.base import AskedTrigger
from tests.streaming.brokers import broker_with_password
from tests.streaming.fakes import FakeEngine, FakeSource, ListSink
from tests.streaming.results import PATIENCE_S, wait_until
from tests.streaming.slow_peers import dripping, peer


def _frame(number: int = 0, *, source: int = 0, at: float | None = None, part_x: int | None = None) -> Frame:
    """A noisy frame, with a bright part at ``part_x`` if given."""
    noise = np.random.default_rng(number).normal(60, 4, (48, 64, 3))
    image = noise.clip(0, 255).astype(np.uint8)
    if part_x is not None:
        image[10:40, max(0, part_x) : max(0, part_x + 12)] = 200
    return Frame(number, image, time.perf_counter() if at is None else at, 0.0, 0.0, source_index=source)


def _fired(trigger: Trigger, frames: list[Frame]) -> list[int]:
    return [frame.index for frame in frames if trigger.fires(frame)]


def test_every_frame_and_every_third_of_each_source() -> None:
    assert _fired(trigger_from_text("every"), [_frame(n) for n in range(4)]) == [0, 1, 2, 3]
    third = trigger_from_text("every:3")
    mixed = [_frame(n, source=source) for n in range(7) for source in (0, 1)]
    assert _fired(third, mixed) == [0, 0, 3, 3, 6, 6]


def test_part_that_passes_the_line_fires_once() -> None:
    trigger = trigger_from_text("motion:32,5,32,45")
    frames = [_frame(n, at=n / 30, part_x=4 * n - 20) for n in range(25)]  # reaches the line at frame 11 (x + 12 > 32)
    assert _fired(trigger, frames) == [11]


def test_two_parts_fire_twice_and_the_refractory_period_ends() -> None:
    frames = [_frame(n, at=n / 10, part_x=30 if n in (3, 13) else None) for n in range(20)]
    assert _fired(trigger_from_text("motion:32,5,32,45?refractory=0.5"), frames) == [3, 13]
    assert _fired(trigger_from_text("motion:32,5,32,45?refractory=0"), frames) == [3, 4, 13, 14]


def test_sensor_noise_is_no_motion() -> None:
    assert _fired(trigger_from_text("motion:0,20,63,20"), [_frame(n, at=n) for n in range(100)]) == []


def test_line_beyond_the_frame_is_named() -> None:
    with pytest.raises(UsageError, match="beyond the frame"):
        trigger_from_text("motion:10,10,64,10").fires(_frame())


def test_request_takes_the_next_frame_of_each_source_and_none_that_was_waiting() -> None:
    trigger = AskedTrigger()
    waiting = _frame(0)
    trigger.ask("part 7")
    trigger.ask("part 7")  # sent again
    assert trigger.last_id == "part 7"
    assert not trigger.fires(waiting)
    assert trigger.fires(_frame(1))
    assert not trigger.fires(_frame(2))
    assert trigger.fires(_frame(1, source=1))
    trigger.ask()
    assert trigger.fires(_frame(3))


def test_a_request_that_is_delivered_again_asks_for_nothing_more() -> None:
    trigger = AskedTrigger()
    assert trigger.ask("p1", is_repeated=True)  # the first delivery did not come through
    assert trigger.fires(_frame(1))
    assert trigger.ask("p1", is_repeated=True)
    assert not trigger.fires(_frame(2))
    assert trigger.ask("p1")  # somebody asks again
    assert trigger.fires(_frame(3))
    assert trigger.ask("", is_repeated=True)  # without ids nothing tells requests apart
    assert trigger.fires(_frame(4))


def test_an_mqtt_message_that_the_broker_sends_again_asks_for_no_second_frame() -> None:
    paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    trigger = trigger_from_text("mqtt://localhost/line/part")
    assert isinstance(trigger, AskedTrigger)
    client = trigger._make_client()  # type: ignore[attr-defined]
    message = paho.MQTTMessage(topic=b"line/part")
    message.payload = b"p1"
    client.on_message(client, None, message)
    assert trigger.fires(_frame(1))
    message.dup = True
    client.on_message(client, None, message)
    assert not trigger.fires(_frame(2))


def test_a_request_that_is_given_up_is_told(engine: FakeEngine) -> None:
    trigger, kept = AskedTrigger(), ListSink()

    class Asked(FakeSource):
        def read(self) -> NDArray[np.uint8] | None:
            if self.reads == 5:
                for name in ("p1", "p2"):
                    trigger.ask(name)
            return super().read()

    run_stream(engine, Asked(10), threshold=9.0, sinks=[kept], filters=FilterOptions(trigger=trigger))
    assert [result.frame.part for result in kept.results] == ["p1"]
    assert [(event.kind, dict(event.data)) for event in kept.events] == [
        ("request lost", {"requests": 1, "part_id": "p2"})
    ]


@pytest.mark.parametrize(
    "text",
    [
        "sometimes",
        "every:0",
        "every:x",
        "motion:1,2,3",
        "motion:1,2,1,2",
        "motion:1,1,9,9?sensitivity=3",
        "motion:1,1,9,9?difference=nan",
        "http:",
        "http:port",
        "http:99999",
        "http:80?tokn=x",
        "mqtt://",
        "mqtt://host",
        "mqtt://host/",
        "mqtt://host:port/topic",
        "mqtt://host/topic?qos=2",
    ],
)
def test_trigger_that_cannot_be_read_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"trigger") as failure:
        trigger_from_text(text, {"http": http_trigger})
    assert "\n" not in str(failure.value)


def test_secret_of_a_trigger_is_not_repeated() -> None:
    for text in (
        "mqtt://user:secret@host",
        "http:99999?token=secret",
        "mqtx://user:secret@host/t",
        "htp:80?token=secret",
    ):
        with pytest.raises(UsageError) as failure:
            trigger_from_text(text, {"http": http_trigger})
        assert "secret" not in str(failure.value)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.mark.parametrize("start", [b"", b"\x20\x02\x00"], ids=["silent", "half an answer"])
def test_broker_that_hangs_is_left_behind_when_the_stream_is_to_end(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_ad.streaming.triggers.selection._OPEN_S", 3600.0)  # it returns because it is asked to
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    with peer(dripping(start, ())) as (port, is_met):
        trigger = trigger_from_text(f"mqtt://127.0.0.1:{port}/topic")

        def cancel() -> None:
            is_met.wait(PATIENCE_S)
            trigger.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(DeviceError, match="does not answer"):
            trigger.open()
        thread.join()


def test_trigger_and_sink_take_the_same_login_and_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    monkeypatch.setenv("EDGE_AD_MQTT_CA", str(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match=r"none\.pem"):
        trigger_from_text("mqtts://127.0.0.1/topic").open()
    with pytest.raises(UsageError, match=r"none\.pem"):
        mqtt_sink("mqtts://127.0.0.1/topic")


def test_mqtt_trigger_logs_in_with_what_the_environment_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    broker = broker_with_password(tmp_path)
    broker.start()
    try:
        monkeypatch.setenv("EDGE_AD_MQTT_USER", "line")
        for password in ("wrong", "s3cret"):
            monkeypatch.setenv("EDGE_AD_MQTT_PASSWORD", password)
            trigger = trigger_from_text(f"mqtt://127.0.0.1:{broker.port}/topic")
            if password == "wrong":
                with pytest.raises(DeviceError, match="refuses"):
                    trigger.open()
            else:
                with trigger:
                    pass
    finally:
        broker.stop()


def _publish(port: int, topic: str, text: str, *, retain: bool = False) -> None:
    from paho.mqtt import publish

    publish.single(topic, text, qos=1, retain=retain, hostname="127.0.0.1", port=port)


def test_mqtt_message_has_the_next_frame_judged_also_after_the_broker_was_restarted(broker: Mosquitto) -> None:
    _publish(broker.port, "line/1/part", "kept", retain=True)
    trigger = trigger_from_text(f"mqtt://127.0.0.1:{broker.port}/line/+/part")
    assert isinstance(trigger, AskedTrigger)
    with trigger:
        for turn in range(2):
            wait_until(lambda turn=turn: _asked(trigger, broker.port, f"part {turn}"))  # type: ignore[misc]
            assert trigger.last_id == f"part {turn}"
            assert _fired(trigger, [_frame(1), _frame(2)]) == [1]
            if turn == 0:
                broker.stop()
                broker.start()


def _asked(trigger: AskedTrigger, port: int, text: str) -> bool:
    _publish(port, "line/1/part", text)
    time.sleep(0.1)
    return trigger.last_id == text


def test_broker_that_is_not_there_is_named() -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    with pytest.raises(DeviceError, match="does not answer"), trigger_from_text("mqtt://127.0.0.1:9/topic"):
        pass
