"""What follows from several frames together: parts, hysteresis, cool-down, drift of the good scores."""

from edge_ad.streaming.judgement.base import EndingJudge, Judge
from edge_ad.streaming.judgement.cool_down import CoolDown, CoolDownRule
from edge_ad.streaming.judgement.drift import Drift, DriftMonitor
from edge_ad.streaming.judgement.hysteresis import Hysteresis
from edge_ad.streaming.judgement.not_finite import NotFiniteAlarm
from edge_ad.streaming.judgement.options import judges_from_options
from edge_ad.streaming.judgement.part_judge import PartJudge
from edge_ad.streaming.judgement.parts import Part, PartRule, Parts

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
