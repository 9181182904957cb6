"""What follows from several frames together: parts, hysteresis, cool-down, drift of the good scores."""

from __future__ import annotations

from edge_ad.streaming.verdicts.drift import Drift, DriftMonitor
from edge_ad.streaming.verdicts.judges import CoolDown, CoolDownRule, EndingJudge, Hysteresis, Judge, NotFiniteAlarm
from edge_ad.streaming.verdicts.parts import Part, PartJudge, PartRule, Parts, judges_from_options

__all__ = [
    "CoolDown",
    "CoolDownRule",
    "Drift",
    "DriftMonitor",
    "EndingJudge",
    "Hysteresis",
    "Judge",
    "NotFiniteAlarm",
    "Part",
    "PartJudge",
    "PartRule",
    "Parts",
    "judges_from_options",
]
