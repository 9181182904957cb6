"""MQTT brokers for tests, and what listens to them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mosquitto import Mosquitto, find_mosquitto
from tests.streaming.results import wait_until

PASSWORD = "s3cret"

needs_broker = pytest.mark.skipif(
    find_mosquitto() is None, reason="there is no mosquitto here: apt-get install mosquitto"
)


class Listener:
    """Subscribes to a filter, again whenever the broker has been away; subclasses `take` what comes.

    Attributes:
        is_ready: Whether it has subscribed; set it to False before the broker goes.
    """

    def __init__(self, port: int, topics: str, *, name: str = "") -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.is_ready = False
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=not name)
        self.client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self.client.on_subscribe = self._subscribed
        self.client.on_message = lambda _, __, message: self.take(message)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_until(lambda: self.is_ready)

    def take(self, message: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _subscribed(self, *_: object) -> None:
        self.is_ready = True


def broker_with_password(folder: Path) -> Mosquitto:
    """A broker for the user ``line`` with `PASSWORD` alone; skips the test where its tool is not installed."""
    if (tool := shutil.which("mosquitto_passwd")) is None:
        pytest.skip("there is no mosquitto_passwd here")
    passwords = folder / "passwords"
    subprocess.run([tool, "-b", "-c", str(passwords), "line", PASSWORD], check=True, capture_output=True)
    passwords.chmod(0o644)  # mosquitto reads it as its own user
    let_others_read(folder)
    return Mosquitto(folder, f"allow_anonymous false\npassword_file {passwords}\n")


def let_others_read(folder: Path) -> None:
    """Let other users of this machine into a folder of the tests, and into those around it."""
    for around in (folder, *folder.parents[:3]):  # with a process of the tests per core, one more
        if around.name.startswith(("pytest", "popen")) or around == folder:
            around.chmod(0o755)
