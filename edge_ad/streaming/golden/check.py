"""The state of the golden check of a stream: asked for, under way, passed, failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_ad.errors import UsageError
from edge_ad.streaming.frame import NO_RECIPE, Event, RecipeMark
from edge_ad.streaming.golden.plan import GoldenPlan, MasterPart, time_text
from edge_ad.streaming.golden.state import MASTER_PART, FrameSpan, GoldenState, Judged

__all__ = ["GoldenCheck"]


@dataclass
class _Round:
    """One check, from being asked for to its end."""

    asked_at: float
    asked_unix: float
    why: str
    by: str = ""
    next_part: str = ""
    judged: dict[str, Judged] = field(default_factory=dict)


class GoldenCheck:
    """Follows the master parts of a stream. Thread-safe.

    A recipe with a plan of its own is asked for its master parts when it is selected, unless they were judged as
    recorded under the same recipe, threshold and bundle, and that still counts. Another threshold or bundle asks for
    them again. What was judged wrongly stays so until the check has failed: nobody shows a part until it fits.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._plan: GoldenPlan | None = None
        self._recipe, self._detector = NO_RECIPE, (0.0, "")  # threshold, and hash of the bundle
        self._state = GoldenState.NONE
        self._is_stopped = False
        self._round = _Round(0.0, 0.0, "")
        self._valid: dict[RecipeMark, tuple[float, tuple[float, str]]] = {}  # until when, and for which detector
        self._left: dict[RecipeMark, float] = {}  # seconds for a check that was open when another recipe was selected
        self._failed: dict[RecipeMark, GoldenState] = {}  # whoever selects such a recipe again is not let through
        self._events: list[Event] = []

    @property
    def state(self) -> GoldenState:
        """What is known now."""
        return self._state

    @property
    def plan(self) -> GoldenPlan | None:
        """What is asked for; None where nothing is."""
        return self._plan

    @property
    def is_blocking(self) -> bool:
        """Whether parts other than master parts must not be judged: a check failed, and none was passed since."""
        return self._is_stopped

    def is_master(self, part: str) -> bool:
        """Whether this is the id of a master part that is known by its id."""
        return self._plan is not None and self._plan.identify == "barcode" and self._master(part) is not None

    def lets_pass(self, part: str) -> bool:
        """Whether a frame of the part with this id, empty for none, may be judged."""
        if not self._is_stopped or self.is_master(part):
            return True
        with self._lock:
            return bool(self._round.next_part or self._in_order())

    def remember(self, failed: Mapping[RecipeMark, GoldenState]) -> None:
        """Note the recipes whose check failed before the stream was started.

        Args:
            failed: As `edge_ad.streaming.golden.history.failed_checks` finds them.
        """
        with self._lock:
            self._failed |= failed

    def use(self, plan: GoldenPlan | None, recipe: RecipeMark, threshold: float, bundle: str = "") -> None:
        """Ask for what this recipe asks for, from now on.

        Args:
            plan: What it asks for; None for nothing.
            recipe: The recipe.
            threshold: Raw score that judges under it.
            bundle: Content hash of the bundle that judges under it.
        """
        with self._lock:
            self._leave()
            self._plan, self._recipe, self._detector = plan, recipe, (threshold, bundle)
            self._is_stopped = False
            until, detector = self._valid.get(recipe, (float("-inf"), None))
            if plan is None:
                self._state = GoldenState.NONE
            elif recipe in self._failed:
                self._round = _Round(self._clock(), time.time(), "failed before")
                self._state, self._is_stopped = self._failed[recipe], plan.on_failure == "stop"
                self._tell("due", f"Golden check due (failed before).{self._stop_words}", why="failed before")
            elif self._clock() < until and detector == self._detector:
                self._state = GoldenState.VALID
                self._left.pop(recipe, None)
            else:
                self._ask(f"recipe {recipe.name}" if recipe.name else "start")

    def look(self, recipe: RecipeMark, threshold: float, bundle: str = "") -> list[Event]:
        """Look at the clock, the threshold and the bundle.

        Args:
            recipe: What frames are captured under now; nothing is looked at while `use` was told of another one.
            threshold: Its threshold.
            bundle: Content hash of the bundle that judges.

        Returns:
            The events since the last call.
        """
        with self._lock:
            plan, now = self._plan, self._clock()
            if plan is not None and recipe == self._recipe:
                changed = "another bundle" if bundle != self._detector[1] else "changed threshold"
                is_same, self._detector = (threshold, bundle) == self._detector, (threshold, bundle)
                if self._state is GoldenState.VALID and not is_same:
                    self._ask(changed)
                elif self._is_open and not is_same and self._round.judged:
                    self._begin_again(changed)
                elif self._state is GoldenState.VALID and now >= self._valid[self._recipe][0]:
                    self._ask(f"every {time_text(plan.every_s)}")
                elif self._is_open and now > self._round.asked_at + plan.within_s:
                    self._fail(GoldenState.OVERDUE, f"not done within {time_text(plan.within_s)}")
            events, self._events = self._events, []
            return events

    def begin(self, by: str) -> None:
        """Begin the check, or begin it again.

        Raises:
            UsageError: No golden check is asked for.
        """
        with self._lock:
            self._planned()
            if self._is_open and self._wrong():
                self._complete()
            asked = self._round if self._is_open else _Round(self._clock(), time.time(), "again")
            self._round = _Round(asked.asked_at, asked.asked_unix, asked.why, by)
            self._state = GoldenState.UNDER_WAY
            self._tell("begun", f"Golden check begun by {by}.", by=by)

    def name_next(self, part: str, by: str) -> None:
        """Say which master part is judged next.

        Raises:
            UsageError: There is no such part, or the check is not under way.
        """
        with self._lock:
            plan = self._planned()
            if plan.identify != "operator" or self._state is not GoldenState.UNDER_WAY:
                raise UsageError("No master part is to be named now.", "Begin the check first.")
            if self._master(part) is None:
                listed = ", ".join(one.id for one in plan.parts)
                raise UsageError(f"There is no master part {part}.", f"There are {listed}.")
            self._round.next_part, self._round.by = part, by

    def judged(self, verdict: Judged, frames: Sequence[FrameSpan] = ()) -> None:
        """Take the verdict on a part; one that is no master part now is left alone.

        Args:
            verdict: The verdict.
            frames: The frames that show the part; for a master part, an event tells them.
        """
        with self._lock:
            master = self._shown(verdict.part) if verdict.recipe_hash == self._recipe.hash else None
            if master is None:
                return
            if frames:
                self._tell_frames(master, verdict, frames)
            if self._is_of_another_detector(verdict):
                return
            made = Judged(**{**asdict(verdict), "part": master.id, "expect": master.expect})
            if self._state in (GoldenState.VALID, GoldenState.UNSIGNED):
                self._shown_unasked(made)
                return
            if self._state is not GoldenState.UNDER_WAY:
                self.begin("its barcode")
            if self._is_replaced(self._round.judged.get(master.id)):
                self._round.judged[master.id] = made
            self._round.next_part = ""
            self._tell("judged", f"Master part {made.said}.", by=self._round.by)
            if len(self._round.judged) == len(self._planned().parts):
                self._complete()

    def _tell_frames(self, master: MasterPart, verdict: Judged, frames: Sequence[FrameSpan]) -> None:
        facts: dict[str, object] = {"part": master.id, "verdict": verdict.verdict, "reason": verdict.reason}
        facts |= {"at_unix": verdict.at_unix, "recipe": self._recipe.name, "recipe_hash": verdict.recipe_hash}
        facts |= {"frames": [asdict(span) for span in frames]}
        text = f"Master part {master.id} was on the line: {verdict.reason or verdict.verdict}."
        self._events.append(Event(MASTER_PART, time.time(), text=text, data=facts))

    def _is_of_another_detector(self, verdict: Judged) -> bool:
        """Whether a frame was judged before the threshold or the bundle changed, and its verdict comes only now."""
        threshold, bundle = self._detector
        is_of_bundle = not bundle or not verdict.bundle or verdict.bundle == bundle
        return not is_of_bundle or verdict.threshold not in (None, threshold)

    def _shown_unasked(self, made: Judged) -> None:
        """A master part that nothing asks for; one that is judged wrongly fails the check that was passed."""
        if made.is_right or made.reason:
            return
        if self._state is GoldenState.VALID:
            self._round = _Round(self._clock(), time.time(), "shown between two checks", "its barcode")
        self._round.judged[made.part] = made
        self._tell("judged", f"Master part {made.said}.", by=self._round.by)
        self._complete()

    def sign(self, by: str) -> None:
        """Sign a check that was passed.

        Raises:
            UsageError: There is none.
        """
        with self._lock:
            if self._state is not GoldenState.UNSIGNED:
                raise UsageError("There is no golden check to sign.", "Its master parts are judged first.")
            self._pass(by)

    def waive(self, by: str, why: str) -> None:
        """Go on without a check that was passed, until the next one is due.

        Raises:
            UsageError: Nothing is due or failed, or no reason is given.
        """
        with self._lock:
            plan = self._planned()
            if self._state is GoldenState.VALID or not why.strip():
                raise UsageError("A golden check that is due or failed is waived with a reason.")
            self._valid[self._recipe] = (self._clock() + plan.every_s, self._detector)
            self._failed.pop(self._recipe, None)
            self._state, self._is_stopped = GoldenState.VALID, False
            self._round.next_part = ""
            self._tell("waived", f"Golden check waived by {by}: {why}.", by=by, why=why)

    def facts(self) -> dict[str, Any]:
        """What is known, as plain data: ``state``, ``due_s`` (seconds left), ``blocking`` and the ``parts``."""
        with self._lock:
            plan, now = self._plan, self._clock()
            if plan is None:
                return {"state": GoldenState.NONE.word, "due_s": None, "blocking": False, "parts": []}
            until = self._round.asked_at + plan.within_s
            if self._state is GoldenState.VALID:
                until = self._valid[self._recipe][0]
            return {
                "state": self._state.word,
                "due_s": None if self._state in (GoldenState.FAILED, GoldenState.OVERDUE) else max(0.0, until - now),
                "blocking": self.is_blocking,
                "identify": plan.identify,
                "sign": plan.is_signed,
                "next": self._round.next_part or self._in_order(),
                "parts": [self._part_facts(part) for part in plan.parts],
            }

    def _part_facts(self, part: MasterPart) -> dict[str, Any]:
        judged = self._round.judged.get(part.id)
        verdict, is_right = (None, None) if judged is None else (judged.reason or judged.verdict, judged.is_right)
        return {"id": part.id, "expect": part.expect, "note": part.note, "verdict": verdict, "right": is_right}

    @property
    def _is_open(self) -> bool:
        return self._state in (GoldenState.DUE, GoldenState.UNDER_WAY, GoldenState.UNSIGNED)

    def _planned(self) -> GoldenPlan:
        if self._plan is None:
            raise UsageError("No golden check is asked for.", "A recipe asks for one with golden.")
        return self._plan

    def _master(self, part: str) -> MasterPart | None:
        found = () if self._plan is None else self._plan.parts
        return next((one for one in found if one.id == part), None)

    def _in_order(self) -> str:
        """The master part that the list asks for next; empty where the order does not matter."""
        if self._plan is None or self._plan.identify != "order" or self._state is not GoldenState.UNDER_WAY:
            return ""
        return next((part.id for part in self._plan.parts if part.id not in self._round.judged), "")

    def _shown(self, part: str) -> MasterPart | None:
        """Which master part was shown; None for a part of the production."""
        if self._plan is None or self._state is GoldenState.NONE:
            return None
        if self._plan.identify == "barcode":
            return self._master(part)
        if self._state in (GoldenState.VALID, GoldenState.UNSIGNED):
            return None
        return self._master(self._round.next_part or self._in_order())

    def _ask(self, why: str) -> None:
        self._state = GoldenState.DUE
        within_s = self._planned().within_s
        left_s = min(within_s, self._left.pop(self._recipe, within_s))
        self._round = _Round(self._clock() - (within_s - left_s), time.time(), why)
        within = time_text(max(0.0, left_s))
        self._tell("due", f"Golden check due ({why}): show the master parts within {within}.", why=why)

    def _leave(self) -> None:
        """Keep what an open check has come to: selecting its recipe again gives no more time, and no other verdict."""
        self._left.pop(self._recipe, None)
        if self._is_open and self._wrong():
            self._complete()
        elif self._is_open:
            self._left[self._recipe] = self._round.asked_at + self._planned().within_s - self._clock()

    def _begin_again(self, why: str) -> None:
        """Ask for all master parts: some were judged by another detector. There is no more time for it."""
        asked = self._round
        self._round = _Round(asked.asked_at, asked.asked_unix, asked.why)
        self._state = GoldenState.DUE
        self._tell("due", f"Golden check due ({why}): show all master parts again.", why=why)

    def _wrong(self) -> list[Judged]:
        return [judged for judged in self._round.judged.values() if not judged.is_right]

    @staticmethod
    def _is_replaced(before: Judged | None) -> bool:
        """Whether a part that is shown again counts: not after a wrong verdict, only after a photo without one."""
        return before is None or before.is_right or bool(before.reason)

    def _complete(self) -> None:
        if wrong := self._wrong():
            self._fail(GoldenState.FAILED, ", ".join(one.said for one in wrong))
        elif self._planned().is_signed:
            self._state = GoldenState.UNSIGNED
        else:
            self._pass(self._round.by)

    def _pass(self, by: str) -> None:
        self._state, self._is_stopped = GoldenState.VALID, False
        self._valid[self._recipe] = (self._clock() + self._planned().every_s, self._detector)
        self._failed.pop(self._recipe, None)
        count = len(self._round.judged)
        self._tell("passed", f"Golden check passed: {count} master parts as recorded, signed by {by}.", by=by)

    def _fail(self, state: GoldenState, why: str) -> None:
        self._state, self._is_stopped = state, self._planned().on_failure == "stop"
        self._valid.pop(self._recipe, None)
        self._failed[self._recipe] = state
        self._round.next_part = ""
        text = f"Golden check failed: {why}.{self._stop_words}"
        self._tell("failed", text, why=why, by=self._round.by, state=state.word)

    @property
    def _stop_words(self) -> str:
        return " No part is judged until it is passed or waived." if self.is_blocking else ""

    def _tell(self, what: str, text: str, **data: object) -> None:
        now = self._round
        facts = {
            "recipe": self._recipe.name,
            "recipe_hash": self._recipe.hash,
            "asked_unix": now.asked_unix,
            "asked": now.why,
            "begun_by": now.by,
            "results": [{**asdict(one), "right": one.is_right} for one in now.judged.values()],
        }
        self._events.append(Event(f"golden check {what}", time.time(), text=text, data={**facts, **data}))
