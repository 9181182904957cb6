"""From verdicts on frames to events about parts."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.streaming.events import Event
from edge_ad.streaming.frame import Result
from edge_ad.streaming.judgement.cool_down import CoolDown, CoolDownRule
from edge_ad.streaming.judgement.drift import Drift, DriftMonitor
from edge_ad.streaming.judgement.hysteresis import Hysteresis
from edge_ad.streaming.judgement.parts import Part, PartRule, Parts

__all__ = ["PartJudge"]

_MOST_SOURCES = 64  # the one not seen for longest is forgotten


class PartJudge:
    """Gives these events, for each source by itself:

    - ``"part"``, when parts are asked for, once a part is over: its verdict, frames, defective frames and score.
    - ``"ng"``: act now. At the frame that makes a part defective; without parts at every frame above the threshold, or
      with hysteresis at the one that enters the defective state. Not within the cool-down after the last one.
    - ``"ng over"``, with hysteresis and without parts: the score is below the lower limit again.
    - ``"drift"`` and ``"drift over"``: see `DriftMonitor`.

    A frame without a finite score or map makes its part defective, and so does a frame that is missing when a part is
    over; ``reason`` in the event's data says which.

    A state of hysteresis does not go on into the next part. Parts by id have frames of several sources.

    Args:
        rule: What a part is; None judges every frame by itself.
        hysteresis: Lower limit as a share of the threshold, in (0, 1]; 1 for none.
        cool_down: Silence after an ``"ng"``.
        watch_drift: Whether to watch the scores of what passed.

    Raises:
        UsageError: The hysteresis is outside (0, 1], or asked for with parts by id.
    """  # noqa: D415 - a list follows

    def __init__(
        self,
        rule: PartRule | None = None,
        *,
        hysteresis: float = 1.0,
        cool_down: CoolDownRule | None = None,
        watch_drift: bool = True,
    ) -> None:
        Hysteresis(hysteresis)
        if hysteresis < 1 and rule is not None and rule.by_id:
            message = "The frames of a part by id follow from different cameras, and have no hysteresis."
            raise UsageError(message, "Leave out --hysteresis.")
        self._rule, self._hysteresis, self._watch_drift = rule, hysteresis, watch_drift
        self._cool_down = cool_down or CoolDownRule()
        self._lines: OrderedDict[str, _Line] = OrderedDict()

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""
        name = "" if self._rule is not None and self._rule.by_id else result.frame.source
        line = self._lines.pop(name, None) or _Line(
            name, self._rule, self._hysteresis, self._cool_down, DriftMonitor() if self._watch_drift else None
        )
        self._lines[name] = line
        forgotten = self._lines.popitem(last=False)[1].end() if len(self._lines) > _MOST_SOURCES else []
        return [*forgotten, *line.see(result)]

    def end(self) -> Sequence[Event]:
        """The events of parts that only the end of the stream completes."""
        return [event for line in self._lines.values() for event in line.end()]


class _Line:
    """The memory of one source."""

    def __init__(
        self,
        name: str,
        rule: PartRule | None,
        hysteresis: float,
        cool_down: CoolDownRule,
        drift: DriftMonitor | None,
    ) -> None:
        self._name = name
        self._has_parts, self._has_hysteresis = rule is not None, hysteresis < 1
        self._parts = Parts(rule or PartRule(1, 1))
        self._hysteresis, self._cool_down, self._drift = Hysteresis(hysteresis), CoolDown(cool_down), drift
        self._frames = 0
        self._newest: Result | None = None
        self._bundle = ""

    def see(self, result: Result) -> list[Event]:
        part, ended = self._parts.part_of(result)
        events = [] if ended is None or self._newest is None else self._ended(ended, self._newest)
        self._newest = result
        was_inside = self._hysteresis.is_inside and not (self._has_parts and part.frames == 0)
        if not was_inside:
            self._hysteresis.reset()
        is_inside = self._hysteresis.update(result.verdict)
        was_defective = part.is_defective
        part.add(result, is_defective=is_inside)
        if part.is_defective and not was_defective and (self._has_parts or not (self._has_hysteresis and was_inside)):
            events += self._act(part, result)
        if was_inside and not is_inside and not self._has_parts and self._has_hysteresis:
            events.append(self._event("ng over", result, "Good again.", {}))
        if part.is_complete:
            events += self._over(part, result)
        elif part.is_alone:
            events += self._ended(part, result)
        self._frames += 1
        return events

    def end(self) -> list[Event]:
        last = self._newest
        return [] if last is None else [event for part in self._parts.end() for event in self._ended(part, last)]

    def _ended(self, part: Part, last: Result) -> list[Event]:
        """What follows from a part to which no frame will come: one that lacks some is defective now."""
        was_defective = part.is_defective
        part.end()
        acts = self._act(part, last) if part.is_defective and not was_defective else []
        return [*acts, *self._over(part, last)]

    def _act(self, part: Part, result: Result) -> list[Event]:
        held_back = self._cool_down.held_back
        if not self._cool_down.lets_through(result.frame.captured_at, self._frames):
            return []
        self._cool_down.held_back = 0
        what = f"Part {part.name or part.number}" if self._has_parts else f"Frame {result.frame.index}"
        why = part.reason or f"score {result.verdict.score:.4g}, limit {result.verdict.threshold:.4g}"
        data = {"held_back": held_back, "reason": part.reason}
        data |= {"part": part.number, "part_id": part.name} if self._has_parts else {}
        text = f"{what} is defective: {why}."
        return [self._event("ng", result, text, data)]

    def _over(self, part: Part, last: Result) -> list[Event]:
        events = []
        if self._has_parts:
            verdict = "NG" if part.is_defective else "OK"
            data = {
                "part": part.number,
                "part_id": part.name,
                "verdict": verdict,
                "reason": part.reason,
                "frames": part.frames,
                "defective": part.defective,
                "score": _finite(part.score),
                "started_unix": part.started_unix,
            }
            counts = f"{part.defective} of {part.frames} frames are defective"
            why = f"{part.reason}, {counts}" if part.reason else counts
            text = f"Part {part.name or part.number} is {verdict}: {why}."
            events.append(self._event("part", last, text, data))
        if self._drift is not None and not part.is_defective:
            events += self._follow(self._drift, part, last)
        return events

    def _follow(self, monitor: DriftMonitor, part: Part, last: Result) -> list[Event]:
        if last.bundle != self._bundle:
            self._bundle = last.bundle
            monitor.reset()
        found = monitor.update(part.score, last.verdict.threshold)
        if found is None:
            return []
        data = {"level": found.level, "baseline": found.baseline, "share": _finite(found.share), "parts": found.parts}
        return [self._event("drift over" if found.is_over else "drift", last, _drift_text(found), data)]

    def _event(self, kind: str, result: Result, text: str, data: dict[str, Any]) -> Event:
        verdict, frame = result.verdict, result.frame
        facts = {
            "frame": frame.index,
            "path": frame.path,
            "score": _finite(verdict.score),
            "threshold": _finite(verdict.threshold),
            "bundle": result.bundle,
        }
        return Event(kind, frame.captured_unix, self._name, text, facts | data)


def _drift_text(drift: Drift) -> str:
    if drift.is_over:
        return f"The scores of good parts are back at {drift.level:.4g}."
    return (
        f"The scores of good parts have risen from {drift.baseline:.4g} to {drift.level:.4g}, {drift.share:.0%} of the "
        f"way to the threshold {drift.threshold:.4g}: look at light, lens and focus."
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
