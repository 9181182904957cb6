"""What follows from several frames together: parts, hysteresis, cool-down, drift of the good scores."""

from __future__ import annotations

from edge_ad.streaming.verdicts.drift import Drift, DriftMonitor, FailureMonitor, Failures
from edge_ad.streaming.verdicts.judges import CoolDown, CoolDownRule, EndingJudge, Hysteresis, Judge, NotFiniteAlarm
from edge_ad.streaming.verdicts.parts import Part, PartJudge, PartRule, Parts, judges_from_options
from edge_ad.streaming.verdicts.scene import SCENE_CHANGED, SCENE_RESTORED, SceneJudge, SceneMonitor

__all__ = [
    "SCENE_CHANGED",
    "SCENE_RESTORED",
    "CoolDown",
    "CoolDownRule",
    "Drift",
    "DriftMonitor",
    "EndingJudge",
    "FailureMonitor",
    "Failures",
    "Hysteresis",
    "Judge",
    "NotFiniteAlarm",
    "Part",
    "PartJudge",
    "PartRule",
    "Parts",
    "SceneJudge",
    "SceneMonitor",
    "judges_from_options",
]
