"""State of a device that follows a tag: kept in a file, and published by MQTT as a retained message."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pydantic import Field

from edge_ad.bundle.documents import read_document, to_bytes
from edge_ad.document import Document
from edge_ad.errors import BundleError
from edge_ad.fleet.health import Health
from edge_ad.storage import write_file
from edge_ad.streaming.mqtt import Broker, BrokerConnection
from edge_ad.strict_json import to_json

__all__ = ["FollowState", "StatePublisher", "Step", "Trial", "read_state", "write_state"]

Step = Literal[
    "current", "pulling", "building", "verifying", "golden check", "on trial", "refused", "rolled back", "waiting"
]
"""What a device does, or did last: ``refused`` and ``rolled back`` keep the old bundle, ``waiting`` tries again."""

_SCHEMA_VERSION = 1
_MOST_REFUSED = 50
_CLOSE_S = 2.0
_HANG_UP_S = 0.5
_log = logging.getLogger(__name__)


class Trial(Document):
    """A bundle that is being tried out by the stream.

    Attributes:
        digest: Of its artifact.
        before: Health of the stream with the old one.
    """

    digest: str
    before: Health


class FollowState(Document):
    """Contents of the state file.

    Attributes:
        schema_version: Version of this schema; a newer one is refused.
        reference: What is followed.
        step: What was done last.
        digest: Of the bundle in the folder; empty where it was not pulled.
        message: Why, in one line.
        refused: Digest → why it is not used; it is not tried again.
        trial: The bundle that is on trial.
        at: ISO 8601 date and time, UTC.
    """

    schema_version: int = _SCHEMA_VERSION
    reference: str
    step: Step = "waiting"
    digest: str = ""
    message: str = ""
    refused: dict[str, str] = Field(default_factory=dict)
    trial: Trial | None = None
    at: str = ""

    def refusing(self, digest: str, why: str) -> FollowState:
        """The state in which a bundle is not used; the newest fifty are remembered."""
        others = {name: text for name, text in self.refused.items() if name != digest}
        kept = list(others.items())[-(_MOST_REFUSED - 1) :]
        return self.model_copy(update={"refused": {**dict(kept), digest: why}})


def read_state(path: Path, reference: str) -> FollowState:
    """The state in a file; an empty one where there is none, or of another reference.

    A file that is damaged is told of and replaced: the bundles are what counts.
    """
    if not path.exists():
        return FollowState(reference=reference)
    try:
        state = read_document(path, FollowState, supported_version=_SCHEMA_VERSION, hint="Remove it.")
    except BundleError as error:
        _log.warning("%s It is begun anew.", error.message)
        return FollowState(reference=reference)
    return state if state.reference == reference else FollowState(reference=reference)


def write_state(path: Path, state: FollowState) -> None:
    """Write the state atomically.

    Raises:
        StorageError: No space or no permission.
    """
    write_file(path, to_bytes(state))


class StatePublisher:
    """Publishes the state as a retained message under ``<prefix>/bundle``, in the background.

    Args:
        broker: Where to publish.

    Raises:
        MissingDependencyError: paho-mqtt is not installed.
        UsageError: The certificates or the topic cannot be used.
    """

    def __init__(self, broker: Broker) -> None:
        self._topic = f"{broker.prefix()}/bundle"
        self._lock, self._newest = threading.Lock(), ""
        self._last: Any = None
        self._is_connected = threading.Event()
        self._client = broker.client(lambda error: _log.warning("The MQTT broker cannot be reached: %s", error))
        self._client.on_connect, self._client.on_disconnect = self._connected, self._gone
        self._connection = BrokerConnection(self._client, broker)

    def __enter__(self) -> StatePublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the broker's acknowledgement of the last state, two seconds at most."""
        if self._newest and self._is_connected.wait(_CLOSE_S):
            with suppress(RuntimeError, ValueError):  # the connection was lost
                self._last.wait_for_publish(_CLOSE_S)
        self._connection.close(_HANG_UP_S)

    def publish(self, state: FollowState) -> None:
        """Publish a state; while the broker is away, the newest one waits."""
        with self._lock:
            self._newest = to_json(state.model_dump(exclude={"trial"}))
            if self._is_connected.is_set():
                self._send()

    def _send(self) -> None:
        self._last = self._client.publish(self._topic, self._newest, qos=1, retain=True)

    def _connected(self, _client: Any, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            _log.warning("The MQTT broker refuses the connection: %s", reason)
            return
        with self._lock:
            if self._newest:
                self._send()
            self._is_connected.set()

    def _gone(self, *_: object) -> None:
        self._is_connected.clear()
