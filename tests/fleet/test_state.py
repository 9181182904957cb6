"""The state of a device, in its file and at a broker."""

import json
from pathlib import Path

import pytest

from benchmarks.mosquitto import Mosquitto, find_mosquitto
from edge_ad.fleet.state import FollowState, StatePublisher, read_state, write_state
from edge_ad.streaming.mqtt import Broker


def test_a_state_is_read_again_and_one_of_another_tag_or_a_damaged_one_is_begun_anew(tmp_path: Path) -> None:
    path, state = tmp_path / "state.json", FollowState(reference="a:1/b:c").refusing("sha256:0", "too slow")
    write_state(path, state)
    assert read_state(path, "a:1/b:c") == state
    assert read_state(path, "a:1/b:d") == FollowState(reference="a:1/b:d")
    path.write_bytes(path.read_bytes()[:20])
    assert read_state(path, "a:1/b:c") == FollowState(reference="a:1/b:c")


def test_the_newest_refusals_are_remembered() -> None:
    state = FollowState(reference="a:1/b:c")
    for number in range(60):
        state = state.refusing(f"sha256:{number}", "bad")
    assert len(state.refused) == 50
    assert "sha256:59" in state.refused
    assert "sha256:9" not in state.refused


def test_a_broker_keeps_the_newest_state(tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    subscribe = pytest.importorskip("paho.mqtt.subscribe", reason="paho-mqtt is not installed")
    with Mosquitto(tmp_path) as broker:
        where = Broker.parse(f"mqtt://127.0.0.1:{broker.port}/line-1")
        with StatePublisher(where) as publisher:
            for step in ("pulling", "current"):
                publisher.publish(FollowState(reference="a:1/b:c", step=step, digest="sha256:1"))
        message = subscribe.simple("line-1/bundle", hostname="127.0.0.1", port=broker.port)
    assert message.retain
    assert json.loads(message.payload)["step"] == "current"
