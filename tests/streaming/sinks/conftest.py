"""A broker for the sinks that publish to one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mosquitto import Mosquitto
from tests.streaming.results import PATIENCE_S


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes nothing from what a sink has to say at its end, and is no broker that cannot be reached."""
    for sink in ("broker", "hook", "webhook"):
        monkeypatch.setattr(f"edge_ad.streaming.sinks.{sink}._CLOSE_S", PATIENCE_S)
    monkeypatch.setattr("edge_ad.streaming.sinks.broker._CONNECT_S", PATIENCE_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker
