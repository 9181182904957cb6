"""From verdicts on frames to events about parts, or about frames where there are none."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.streaming.frame import Event, Result
from edge_ad.streaming.records.schema import regions_of
from edge_ad.streaming.verdicts.drift import Drift, DriftMonitor, FailureMonitor, Failures
from edge_ad.streaming.verdicts.observers import CoolDown, CoolDownRule, Hysteresis, Observer
from edge_ad.streaming.verdicts.parts import Part, PartRule, Parts
from edge_ad.streaming.verdicts.scene import SceneObserver

__all__ = ["PartObserver", "observers_from_options"]

_MOST_SOURCES = 64  # beyond that the one not seen for longest is forgotten


class PartObserver:
    """Gives these events, for each source by itself:

    - ``"part"``, when parts are asked for, once a part is over: its verdict, frames, defective frames and score.
    - ``"ng"``: act now. At the frame that makes a part defective; without parts at every frame above the threshold, or
      with hysteresis at the one that enters the defective state. Not within the cool-down after the last one; with
      hysteresis it comes late where the state lasts longer than that.
    - ``"ng over"``, with hysteresis and without parts: the score is below the lower limit again after an ``"ng"``.
    - ``"drift"`` and ``"drift over"``: see `DriftMonitor` and, for what nearly always fails, `FailureMonitor`. The
      event's ``topic`` says which: ``"good scores"`` or ``"most parts fail"``.

    A frame without a finite score or map makes its part defective, and so does one that cannot be judged (black,
    frozen, of another shape, …) or that is missing when a part is over; ``reason`` in the event's data says which.

    The state of hysteresis does not carry over to the next part. Parts by id have frames of several sources.

    Args:
        rule: What a part is; None judges every frame by itself.
        hysteresis: Lower limit as a share of the threshold, in (0, 1]; 1 for none.
        cool_down: Silence after an ``"ng"``.
        watch_drift: Whether to watch the scores of what passed, and how much fails.

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

    def counts(self, reason: str) -> bool:
        """Whether a frame that is not judged for this reason belongs to a part; see `PartRule.counts`."""
        return self._rule is not None and self._rule.counts(reason)

    def end(self) -> Sequence[Event]:
        """The events of parts that only the end of the stream completes."""
        return [event for line in self._lines.values() for event in line.end()]


class _Line:
    """The state of one source."""

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
        self._failures = FailureMonitor(has_parts=rule is not None)
        self._is_told = False  # whether the newest entry into the defective state was an "ng"
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
        follows = was_inside and self._has_hysteresis and not self._has_parts
        if part.is_defective and not was_defective and not (follows and self._is_told):
            acts = self._act(part, result, is_new=not follows)
            self._is_told = bool(acts)
            events += acts
        if follows and not is_inside and self._is_told:  # what the cool-down held back to its end is not over either
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
        """Events for a part that gets no more frames: one that lacks some is defective now."""
        was_defective = part.is_defective
        part.end()
        acts = self._act(part, last) if part.is_defective and not was_defective else []
        return [*acts, *self._over(part, last)]

    def _act(self, part: Part, result: Result, *, is_new: bool = True) -> list[Event]:
        held_back = self._cool_down.held_back - (not is_new)  # this one was counted when it was asked for first
        if not self._cool_down.lets_through(result.frame.captured_at, self._frames, is_new=is_new):
            return []
        self._cool_down.held_back = 0
        what = f"Part {part.name or part.number}" if self._has_parts else f"Frame {result.frame.index}"
        why = part.reason or f"score {result.verdict.score:.4g}, limit {result.verdict.threshold:.4g}"
        data: dict[str, Any] = {"held_back": held_back, "reason": part.reason, "regions": regions_of(result)}
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
                "regions": part.regions,
            }
            counts = f"{part.defective} of {part.frames} frames are defective"
            why = f"{part.reason}, {counts}" if part.reason else counts
            text = f"Part {part.name or part.number} is {verdict}: {why}."
            events.append(self._event("part", last, text, data))
        if self._drift is not None:
            events += self._follow(self._drift, part, last)
        return events

    def _follow(self, monitor: DriftMonitor, part: Part, last: Result) -> list[Event]:
        if last.bundle != self._bundle:
            self._bundle = last.bundle
            monitor.reset()
            self._failures.reset()
        failures = self._failures.update(last.frame.captured_at, is_defective=part.is_defective)
        events = [] if failures is None else [self._fails(failures, last)]
        found = None if part.is_defective else monitor.update(part.score, last.verdict.threshold)
        if found is None:
            return events
        data = {"level": found.level, "baseline": found.baseline, "share": _finite(found.share), "parts": found.parts}
        kind = "drift over" if found.is_over else "drift"
        return [*events, self._event(kind, last, _drift_text(found), {"topic": "good scores", **data})]

    def _fails(self, found: Failures, last: Result) -> Event:
        data = {"topic": "most parts fail", "failed": found.failed, "parts": found.parts}
        return self._event("drift over" if found.is_over else "drift", last, _failures_text(found), data)

    def _event(self, kind: str, result: Result, text: str, data: dict[str, Any]) -> Event:
        verdict, frame = result.verdict, result.frame
        facts = {
            "frame": frame.index,
            "path": frame.path,
            "score": _finite(verdict.score),
            "threshold": _finite(verdict.threshold),
            "bundle": result.bundle,
            "recipe": result.recipe.name,
            "recipe_hash": result.recipe.hash,
        }
        return Event(kind, frame.captured_unix, self._name, text, facts | data)


def _drift_text(drift: Drift) -> str:
    if drift.is_over:
        return f"The scores of good parts are back at {drift.level:.4g}."
    return (
        f"The scores of good parts have risen from {drift.baseline:.4g} to {drift.level:.4g}, {drift.share:.0%} of the "
        f"way to the threshold {drift.threshold:.4g}: look at light, lens and focus."
    )


def _failures_text(found: Failures) -> str:
    counts = f"{found.failed} of {found.parts}"
    if found.is_over:
        return f"Parts pass again; {counts} parts or groups of frames were NG since it began."
    return (
        f"Nearly everything is NG, {counts} parts or groups of frames: light, lens, the camera's place or the parts "
        "themselves have changed."
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def observers_from_options(
    *,
    part: str | None = None,
    hysteresis: float | None = None,
    cool_down: str | None = None,
    drift: bool = True,
    scene: bool = True,
    has_ids: bool = True,
) -> list[Observer]:
    """``--part``, ``--hysteresis``, ``--cool-down``, ``--drift/--no-drift``, ``--scene/--no-scene``.

    Needed in every stream: the ``"ng"`` events that webhook, MQTT and hook act on come from here.

    Args:
        part: ``n/m``, ``n/m:id`` or ``n/gap:0.5s``; None judges every frame by itself. See `PartRule.parse`.
        hysteresis: Lower limit as a share of the threshold, in (0, 1]; None for none.
        cool_down: ``2s``, ``500ms`` or ``30f``; None for none. See `CoolDownRule.parse`.
        drift: Whether to watch the scores of what passed, and how much fails.
        scene: Whether to hold the pictures against the photos that were trained on.
        has_ids: Whether the trigger gives ids.

    Raises:
        UsageError: One of them cannot be used, or parts by id are asked for and there are no ids.
    """
    rule = None if part is None else PartRule.parse(part)
    if rule is not None and rule.by_id and not has_ids:
        message = f"--part {part} needs a trigger that gives ids."
        raise UsageError(message, "Add --trigger http:PORT or mqtt://host/topic, or leave out :id.")
    silence = None if cool_down is None else CoolDownRule.parse(cool_down)
    ratio = 1.0 if hysteresis is None else hysteresis
    parts = PartObserver(rule, hysteresis=ratio, cool_down=silence, watch_drift=drift)
    return [parts, SceneObserver()] if scene else [parts]
