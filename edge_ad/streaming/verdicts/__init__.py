"""Events from several frames: parts, hysteresis, cool-down, drift of scores, changes of the scene."""

from __future__ import annotations

from edge_ad.streaming.verdicts.drift import Drift, DriftMonitor, FailureMonitor, Failures
from edge_ad.streaming.verdicts.observers import (
    CoolDown,
    CoolDownRule,
    CountingObserver,
    EndingObserver,
    Hysteresis,
    NotFiniteAlarm,
    Observer,
)
from edge_ad.streaming.verdicts.part_observer import PartObserver, observers_from_options
from edge_ad.streaming.verdicts.parts import Part, PartRule, Parts
from edge_ad.streaming.verdicts.recipe_observers import RecipeObservers
from edge_ad.streaming.verdicts.scene import SCENE_CHANGED, SCENE_RESTORED, SceneMonitor, SceneObserver

__all__ = [
    "SCENE_CHANGED",
    "SCENE_RESTORED",
    "CoolDown",
    "CoolDownRule",
    "CountingObserver",
    "Drift",
    "DriftMonitor",
    "EndingObserver",
    "FailureMonitor",
    "Failures",
    "Hysteresis",
    "NotFiniteAlarm",
    "Observer",
    "Part",
    "PartObserver",
    "PartRule",
    "Parts",
    "RecipeObservers",
    "SceneMonitor",
    "SceneObserver",
    "observers_from_options",
]
