"""Golden check: master parts, good and known bad, that the line must judge as recorded at start and every few hours."""

from __future__ import annotations

from edge_ad.streaming.golden.check import GoldenCheck
from edge_ad.streaming.golden.plan import GoldenPlan, MasterPart
from edge_ad.streaming.golden.state import GoldenState

__all__ = ["GoldenCheck", "GoldenPlan", "GoldenState", "MasterPart"]
