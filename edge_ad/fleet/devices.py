"""The devices of a fleet as a broker knows them: each one's newest report, and how old that is."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from pydantic import ValidationError

from edge_ad.bundle.documents import parse_json
from edge_ad.fleet.publisher import AGENT_TOPIC, OFFLINE, ONLINE, REPORT_TOPIC
from edge_ad.fleet.report import DeviceReport

__all__ = ["Devices", "OwnDevice", "SeenDevice", "Standing"]

_MOST_DEVICES = 10_000
"""One takes 2 to 5 kB, and 130 kB with a full list of refused bundles."""
_LONGEST_NAME, _LARGEST_BYTES = 300, 64 << 10
_MISSED_LOOKS, _SPARE_S = 3, 30.0
_LONGEST_STEP_S = 2 * 3600.0
_UNREADABLE = "unreadable"
_LONG_STEPS = {"pulling", "building", "verifying", "golden check", "on trial"}


class Standing(IntEnum):
    """How a device stands, worst first."""

    FAILED = 0
    """Its new bundle is not used, its stream does not answer or has alarms, or its report cannot be read."""
    LOST = 1
    """It has not been heard of for too long."""
    WAITING = 2
    """It tries again: registry, disk or backend."""
    WORKING = 3
    """A new bundle is on its way."""
    CURRENT = 4

    @property
    def word(self) -> str:
        """Such as ``"failed"``."""
        return self.name.lower()


@dataclass(frozen=True)
class SeenDevice:
    """A device as it is known now.

    Attributes:
        name: Its topic without the last part.
        report: What it said last.
        age_s: How long ago, in seconds: by the clock here if it was heard here, else by its own, which may be wrong,
            but at least what has passed here since.
        is_online: Whether the broker has its agent's connection; None where it does not say.
    """

    name: str
    report: DeviceReport
    age_s: float
    is_online: bool | None

    @property
    def is_stale(self) -> bool:
        """Whether it should have said something since."""
        longest = _LONGEST_STEP_S if self.report.step in _LONG_STEPS else _MISSED_LOOKS * self.report.every_s + _SPARE_S
        return self.is_online is False or self.age_s > longest

    @property
    def standing(self) -> Standing:
        """How it stands; a failure is one however old it is."""
        report = self.report
        has_alarms = report.health is not None and report.health.alarms > 0
        if report.step in ("refused", "rolled back", _UNREADABLE) or report.stream == "does not answer" or has_alarms:
            return Standing.FAILED
        if self.is_stale:
            return Standing.LOST
        if report.step == "current":
            return Standing.CURRENT
        return Standing.WORKING if report.step in _LONG_STEPS else Standing.WAITING


@dataclass
class _Known:
    payload: bytes
    report: DeviceReport
    heard: float  # monotonic time
    is_earlier: bool  # said before this process listened


class Devices:
    """Takes the messages of a broker. Thread-safe.

    Args:
        clock: Monotonic time in seconds.
        wall: Seconds since the epoch.
        most: How many devices are held; those that speak first.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        *,
        most: int = _MOST_DEVICES,
    ) -> None:
        self._clock, self._wall, self._most = clock, wall, most
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._is_online: dict[str, bool] = {}
        self._names: set[str] = set()
        self._names_left_out: set[str] = set()

    def take(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        """Take a message; an empty one of the broker forgets the device.

        Args:
            topic: Full topic.
            payload: Content.
            is_retained: Whether it was said before this process listened.
        """
        name, _, last = topic.rpartition("/")
        if not 0 < len(name) <= _LONGEST_NAME:
            return
        with self._lock:
            if last == AGENT_TOPIC:
                self._note_agent(name, payload)
            elif last == REPORT_TOPIC:
                self._note_report(name, payload, is_retained=is_retained)
            if not payload and name not in self._known and name not in self._is_online:
                self._names.discard(name)
                self._names_left_out.discard(name)

    @property
    def left_out(self) -> int:
        """Devices that are not `seen`, since there are too many; it counts no more of them than it holds."""
        with self._lock:
            return len(self._names_left_out)

    def seen(self) -> list[SeenDevice]:
        """All devices, the worst first."""
        now, unix = self._clock(), self._wall()
        with self._lock:
            found = [
                SeenDevice(name, known.report, _age(known, now, unix), self._is_online.get(name))
                for name, known in self._known.items()
            ]
        return sorted(found, key=lambda device: (device.standing, _natural(device.name)))

    def _note_agent(self, name: str, payload: bytes) -> None:
        if payload in (ONLINE.encode(), OFFLINE.encode()) and self._has_room(name):
            self._is_online[name] = payload == ONLINE.encode()
        elif not payload:
            self._is_online.pop(name, None)

    def _note_report(self, name: str, payload: bytes, *, is_retained: bool) -> None:
        if not payload:
            self._known.pop(name, None)
            return
        if not self._has_room(name):
            return
        known = self._known.get(name)
        if is_retained and known is not None and known.payload == payload:  # this process connected again
            return
        self._known[name] = _Known(payload[:_LARGEST_BYTES], _report(payload), self._clock(), is_retained)

    def _has_room(self, name: str) -> bool:
        """Whether a device is held, or from now on; one for which there is no room is counted."""
        if name in self._names or len(self._names) < self._most:
            self._names.add(name)
            self._names_left_out.discard(name)
            return True
        if len(self._names_left_out) < self._most:
            self._names_left_out.add(name)
        return False


def _natural(name: str) -> list[str | int]:
    """A key that puts line-10 behind line-9."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", name))]


def _report(payload: bytes) -> DeviceReport:
    """What a payload says; a report that cannot be read may be of a bundle that was refused, so it says that."""
    with suppress(ValidationError, ValueError, RecursionError):
        if len(payload) <= _LARGEST_BYTES:
            return DeviceReport.model_validate(parse_json(payload))
    return DeviceReport(reference="", step=_UNREADABLE, message="Its report cannot be read here.")


def _age(known: _Known, now: float, unix: float) -> float:
    if not known.is_earlier:
        return now - known.heard
    try:
        return max(now - known.heard, unix - datetime.fromisoformat(known.report.at).timestamp())
    except (ValueError, OverflowError, OSError):  # it does not say, or no such time
        return float("inf")


class OwnDevice:
    """This device, of which its own agent tells. Thread-safe.

    Args:
        name: What it is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._told: tuple[DeviceReport, float] | None = None

    def tell(self, report: DeviceReport) -> None:
        """Take what the agent says now."""
        self._told = report, time.monotonic()

    def seen(self) -> list[SeenDevice]:
        """The device; nothing before its agent has said something."""
        if self._told is None:
            return []
        report, heard = self._told
        return [SeenDevice(self._name, report, time.monotonic() - heard, is_online=True)]
