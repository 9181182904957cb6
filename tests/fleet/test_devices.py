"""What is known of devices by what they say at a broker: how they stand, how old that is, and who is gone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.mosquitto import Mosquitto, find_mosquitto
from edge_ad.errors import UsageError
from edge_ad.fleet.device_metrics import expose_devices
from edge_ad.fleet.devices import Devices, SeenDevice, Standing
from edge_ad.fleet.health import Health
from edge_ad.fleet.listener import FleetListener, topic_filters
from edge_ad.fleet.publisher import ReportPublisher
from edge_ad.fleet.report import DeviceReport, StreamHealth
from edge_ad.fleet.state import FollowState, Step
from edge_ad.streaming.mqtt import Broker
from edge_ad.strict_json import to_json
from tests.streaming.results import wait_until

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def wall(self) -> float:
        return NOW + self.passed_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def devices(clock: Clock) -> Devices:
    return Devices(clock.monotonic, clock.wall)


def report(step: str = "current", *, at: float = NOW, **more: object) -> bytes:
    spoken = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
    return to_json({"reference": "a:1/line/screw:stable", "step": step, "at": spoken, "every_s": 60.0, **more}).encode()


def only(devices: Devices) -> SeenDevice:
    (device,) = devices.seen()
    return device


@pytest.mark.parametrize(
    ("step", "more", "standing"),
    [
        ("current", {}, Standing.CURRENT),
        ("refused", {}, Standing.FAILED),
        ("rolled back", {}, Standing.FAILED),
        ("current", {"stream": "does not answer"}, Standing.FAILED),
        ("current", {"stream": "answers", "health": {"fps": 9.0, "alarms": 1}}, Standing.FAILED),
        ("current", {"stream": "answers", "health": {"fps": 9.0, "of a newer agent": 1}}, Standing.CURRENT),
        ("waiting", {}, Standing.WAITING),
        ("golden check", {}, Standing.WORKING),
        ("of a newer agent", {"more": [1]}, Standing.WAITING),
    ],
)
def test_a_device_stands_as_its_report_says(
    devices: Devices, step: str, more: dict[str, object], standing: Standing
) -> None:
    devices.take("line-1/bundle", report(step, **more), is_retained=False)
    assert only(devices).standing == standing


def test_a_device_that_is_silent_for_three_looks_is_lost_unless_it_is_at_work(devices: Devices, clock: Clock) -> None:
    devices.take("line-1/bundle", report("current"), is_retained=False)
    devices.take("line-2/bundle", report("building"), is_retained=False)
    devices.take("line-3/bundle", report("refused"), is_retained=False)
    clock.passed_s = 215.0
    assert {device.name: device.standing.word for device in devices.seen()} == {
        "line-3": "failed",
        "line-1": "lost",
        "line-2": "working",
    }
    assert [device.is_stale for device in devices.seen()] == [True, True, False]
    clock.passed_s = 3 * 3600.0
    assert {device.standing.word for device in devices.seen()} == {"failed", "lost"}


def test_a_wrong_clock_of_a_device_does_not_matter_once_it_is_heard(devices: Devices, clock: Clock) -> None:
    devices.take("line-1/bundle", report(at=NOW - 5000), is_retained=True)
    assert only(devices).age_s == 5000
    assert only(devices).standing is Standing.LOST
    clock.passed_s = 10.0
    devices.take("line-1/bundle", report(at=NOW - 4999), is_retained=False)
    clock.passed_s = 15.0
    assert (only(devices).age_s, only(devices).standing) == (5.0, Standing.CURRENT)
    devices.take("line-1/bundle", report(at=NOW - 4999), is_retained=True)  # the broker was away for a moment
    assert only(devices).age_s == 5.0


def test_the_broker_says_that_an_agent_is_gone_and_an_empty_report_forgets_a_device(devices: Devices) -> None:
    devices.take("line-1/bundle", report(), is_retained=False)
    devices.take("line-1/agent", b"offline", is_retained=False)
    assert only(devices).standing is Standing.LOST
    devices.take("line-1/agent", b"online", is_retained=False)
    assert only(devices).standing is Standing.CURRENT
    devices.take("line-1/bundle", b"", is_retained=False)
    assert devices.seen() == []


@pytest.mark.parametrize(
    "payload",
    [
        b"no json",
        b"[]",
        b'{"step": 1}',
        report("x" * 100),
        b"[" * 50_000,
        b"\xff",
        report(message="x" * 70_000),
        report("refused", every_s=1e300),
        b'{"reference": "a:1/b:c", "step": "refused", "step": "current"}',
    ],
)
def test_a_report_that_cannot_be_read_is_a_failure_for_it_may_tell_of_one(devices: Devices, payload: bytes) -> None:
    devices.take("line-1/bundle", payload, is_retained=False)
    assert only(devices).report.step == "unreadable"
    assert only(devices).standing is Standing.FAILED


@pytest.mark.parametrize("at", ["", "yesterday", "0001-01-01T00:00:00", "9999-12-31T23:59:59+00:00"])
def test_a_time_that_is_none_does_not_disturb(devices: Devices, at: str) -> None:
    payload = to_json({"reference": "a:1/b:c", "step": "current", "at": at}).encode()
    devices.take("line-1/bundle", payload, is_retained=True)
    assert only(devices).is_stale == (not at.startswith("9"))


def test_a_device_that_was_ahead_of_its_time_is_lost_when_it_says_no_more(devices: Devices, clock: Clock) -> None:
    devices.take("line-1/bundle", report(at=NOW + 1e9), is_retained=True)
    clock.passed_s = 200.0
    assert (only(devices).age_s, only(devices).standing) == (200.0, Standing.CURRENT)
    clock.passed_s = 215.0
    assert only(devices).standing is Standing.LOST


def test_messages_that_are_too_much_are_left_out(devices: Devices) -> None:
    devices.take(f"{'x' * 400}/bundle", report(), is_retained=False)
    devices.take("bundle", report(), is_retained=False)
    assert devices.seen() == []


def test_devices_for_which_there_is_no_room_are_counted_until_there_is_some(clock: Clock) -> None:
    devices = Devices(clock.monotonic, clock.wall, most=3)
    for last, payload in (("agent", b"online"), ("bundle", report())):
        for number in range(5):
            devices.take(f"{number}/{last}", payload, is_retained=True)
    assert [device.name for device in devices.seen()] == ["0", "1", "2"]
    assert devices.left_out == 2
    assert "\nedge_ad_fleet_left_out_devices 2.0" in expose_devices(devices.seen(), devices.left_out).decode()
    for last in ("bundle", "agent"):
        devices.take(f"1/{last}", b"", is_retained=False)
    devices.take("4/bundle", report(), is_retained=False)
    assert [device.name for device in devices.seen()] == ["0", "2", "4"]
    devices.take("3/agent", b"", is_retained=False)
    assert devices.left_out == 0


def test_failures_come_first_and_names_are_in_the_order_of_people(devices: Devices) -> None:
    for name in ("line-10", "line-9", "a"):
        devices.take(f"{name}/bundle", report(), is_retained=False)
    devices.take("z/bundle", report("refused"), is_retained=False)
    assert [device.name for device in devices.seen()] == ["z", "a", "line-9", "line-10"]


@pytest.mark.parametrize(
    ("topic", "first", "last"),
    [
        ("", "+/bundle", "+/+/+/+/agent"),
        ("plant", "plant/bundle", "plant/+/+/+/+/agent"),
        ("plant/#", "plant/bundle", "plant/+/+/+/+/agent"),
        ("+/line-1", "+/line-1/bundle", "+/line-1/+/+/+/+/agent"),
    ],
)
def test_only_reports_are_asked_for(topic: str, first: str, last: str) -> None:
    filters = topic_filters(topic)
    assert (filters[0], filters[-1]) == (first, last)
    assert all(each.endswith(("/bundle", "/agent")) and "#" not in each for each in filters)


@pytest.mark.parametrize("topic", ["a/#/b", "a+/b", "a\0"])
def test_a_topic_that_cannot_be_listened_to_is_refused(topic: str) -> None:
    with pytest.raises(UsageError, match="no topic"):
        topic_filters(topic)


def test_a_report_has_what_the_state_and_the_stream_say() -> None:
    state = FollowState(reference="a:1/b:c", step="refused", message="x" * 9000, refused={"sha256:0": "bad"}, at="now")
    health = Health(bundle="abc", fps=9.5, alarms=1)
    found = DeviceReport.of(state, every_s=5.0, is_watched=True, health=health)
    assert (found.step, found.refused, found.every_s, found.stream) == ("refused", {"sha256:0": "bad"}, 5.0, "answers")
    assert found.health == StreamHealth(**health.model_dump())
    assert DeviceReport.model_validate_json(to_json(found.model_dump())) == found
    assert DeviceReport.of(state, every_s=5.0, is_watched=True, health=None).stream == "does not answer"
    assert DeviceReport.of(state, every_s=5.0, is_watched=False, health=None).stream == ""


def test_a_report_of_all_that_was_refused_is_one_that_a_page_takes(devices: Devices) -> None:
    state = FollowState(reference="a:1/b:c", step="refused")
    for number in range(60):
        state = state.refusing(f"sha256:{number:064}", "w" * 4000)
    found = DeviceReport.of(state, every_s=5.0, is_watched=False, health=None)
    devices.take("line-1/bundle", to_json(found).encode(), is_retained=False)
    assert (only(devices).report.step, len(only(devices).report.refused)) == ("refused", 50)


def test_the_metrics_say_step_age_and_staleness(devices: Devices, clock: Clock) -> None:
    devices.take('line "1"/bundle', report("refused", refused={"sha256:0": "bad"}), is_retained=False)
    devices.take("line-2/bundle", report(stream="does not answer"), is_retained=False)
    clock.passed_s = 1000.0
    text = expose_devices(devices.seen()).decode()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    name = ("device", 'line "1"')
    assert samples["edge_ad_device_step", name, ("step", "refused")] == 1
    assert samples["edge_ad_device_step", name, ("step", "current")] == 0
    assert samples["edge_ad_device_stale", name] == 1
    assert samples["edge_ad_device_refused_bundles", name] == 1
    assert samples["edge_ad_device_stream_up", ("device", "line-2")] == 0
    assert ("edge_ad_device_stream_up", name) not in samples
    seen = samples["edge_ad_device_seen_timestamp_seconds", name]
    assert samples["edge_ad_device_seen_timestamp_seconds", ("device", "line-2")] == pytest.approx(seen, abs=1)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    with Mosquitto(tmp_path) as running:
        yield running


def state(step: Step = "current") -> DeviceReport:
    return DeviceReport.of(
        FollowState(reference="a:1/b:c", step=step, digest="sha256:1"), every_s=60.0, is_watched=False, health=None
    )


def test_a_listener_that_comes_later_gets_the_newest_report_and_who_runs(broker: Mosquitto) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    devices, url = Devices(), f"mqtt://127.0.0.1:{broker.port}"
    with ReportPublisher(Broker.parse(f"{url}/plant/line-1")) as publisher:
        for step in ("pulling", "current"):
            publisher.publish(state(step))
        with FleetListener(Broker.parse(f"{url}/plant"), devices) as listener:
            wait_until(lambda: [one.is_online for one in devices.seen()] == [True])
            wait_until(lambda: only(devices).report.step == "current")
            assert listener.is_connected
            publisher.publish(state("refused"))
            wait_until(lambda: only(devices).standing is Standing.FAILED)
            broker.stop()
            wait_until(lambda: not listener.is_connected)
            assert only(devices).report.step == "refused"
            broker.start()
            wait_until(lambda: listener.is_connected)
            publisher.publish(state("current"))
            wait_until(lambda: only(devices).standing is Standing.CURRENT)


def test_the_broker_tells_of_an_agent_that_was_killed(broker: Mosquitto) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    devices, url = Devices(), f"mqtt://127.0.0.1:{broker.port}"
    with FleetListener(Broker.parse(url), devices):
        process = subprocess.Popen(
            [sys.executable, "-c", _AGENT, f"{url}/line-1", json.dumps(state().model_dump())], cwd=ROOT
        )
        try:
            wait_until(lambda: [one.is_online for one in devices.seen()] == [True], 30)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        wait_until(lambda: only(devices).is_online is False)
        assert only(devices).standing is Standing.LOST


def test_a_broker_that_does_not_answer_is_told_of_once_each_time(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    url = f"mqtt://127.0.0.1:{broker.port}/plant"
    said = f"The MQTT broker 127.0.0.1:{broker.port} does not answer; it is tried again."
    broker.stop()
    with FleetListener(Broker.parse(url), Devices()) as listener:
        for times in (1, 2):
            wait_until(partial(_is_said, caplog, said, times), 20)
            broker.start()
            wait_until(lambda: listener.is_connected, 20)
            broker.stop()


def _is_said(caplog: pytest.LogCaptureFixture, text: str, times: int) -> bool:
    return caplog.messages.count(text) == times


_AGENT = """
import json, sys, threading
from edge_ad.fleet.publisher import ReportPublisher
from edge_ad.fleet.report import DeviceReport
from edge_ad.streaming.mqtt import Broker
with ReportPublisher(Broker.parse(sys.argv[1])) as publisher:
    publisher.publish(DeviceReport.model_validate_json(sys.argv[2]))
    threading.Event().wait()
"""
