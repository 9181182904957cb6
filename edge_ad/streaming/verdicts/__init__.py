"""What follows from several frames together: parts, hysteresis, cool-down, drift of the good scores."""

from __future__ import annotations

from edge_ad.streaming.verdicts.drift import Drift, DriftMonitor
from edge_ad.streaming.verdicts.observers import (
    CoolDown,
    CoolDownRule,
    EndingObserver,
    Hysteresis,
    NotFiniteAlarm,
    Observer,
)
from edge_ad.streaming.verdicts.parts import Part, PartObserver, PartRule, Parts, observers_from_options

__all__ = [
    "CoolDown",
    "CoolDownRule",
    "Drift",
    "DriftMonitor",
    "EndingObserver",
    "Hysteresis",
    "NotFiniteAlarm",
    "Observer",
    "Part",
    "PartObserver",
    "PartRule",
    "Parts",
    "observers_from_options",
]
