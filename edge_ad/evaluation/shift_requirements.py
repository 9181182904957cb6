"""What a detector must hold under shift, as it is written on a command line, and whether it does.

``METRIC[@KIND[:STEP]]<=VALUE`` (or ``>=``) holds at every step that it names: of all kinds and the unshifted photos, of
one kind, or one step. ``KIND>=STEP`` and ``KIND<=STEP`` ask that a kind is tolerated as far as a step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from edge_ad.data.shift_kinds import KINDS, ShiftKind, step_words
from edge_ad.errors import UsageError
from edge_ad.evaluation.results import Rate
from edge_ad.evaluation.shift_results import ShiftReport, ShiftStep, Tolerance, why_no_tolerance

__all__ = ["Outcome", "Requirement", "check_requirements", "needs_threshold", "parse_requirements"]

_FORM = re.compile(r"\s*([a-z0-9/-]+)\s*(?:@\s*([a-z0-9/-]+)\s*(?::\s*([^<>=\s]+))?)?\s*(<=|>=)\s*(\S+)\s*")
_EXAMPLE = "In quotes, such as --require 'false-alarms<=0.1', 'recall@noise:8>=0.9' or 'gain>=1.25'."


@dataclass(frozen=True)
class _Metric:
    sign: Literal["<=", ">="]
    value: Callable[[ShiftStep, ShiftStep], float | None]  # a step and the unshifted photos
    needs_threshold: bool = False


def _rate(rate: Rate | None) -> float | None:
    return None if rate is None else rate.value


def _recall_loss(step: ShiftStep, unshifted: ShiftStep) -> float | None:
    return None if step.recall is None or unshifted.recall is None else unshifted.recall.value - step.recall.value


_METRICS: Mapping[str, _Metric] = MappingProxyType(
    {
        "false-alarms": _Metric("<=", lambda step, _: _rate(step.false_alarms), needs_threshold=True),
        "recall": _Metric(">=", lambda step, _: _rate(step.recall), needs_threshold=True),
        "recall-loss": _Metric("<=", _recall_loss, needs_threshold=True),
        "image-auroc": _Metric(">=", lambda step, _: step.image_auroc),
        "pixel-auroc": _Metric(">=", lambda step, _: step.pixel_auroc),
        "pro": _Metric(">=", lambda step, _: step.pro),
    }
)


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    Attributes:
        text: As it was written.
        subject: A metric, or a kind whose tolerance is meant.
        sign: ``"<="`` or ``">="``.
        value: What is required.
        kind: The kind that a metric is meant at; None for all and the unshifted photos.
        step: The step that it is meant at; None for all of the kind.
    """

    text: str
    subject: str
    sign: str
    value: float
    kind: str | None = None
    step: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A requirement and what was found.

    Attributes:
        requirement: The requirement.
        is_met: Whether it is met; never where something was not measured.
        found: What was found, in words.
    """

    requirement: Requirement
    is_met: bool
    found: str

    def to_json(self) -> dict[str, Any]:
        """As values that `json` can write."""
        return {"requirement": self.requirement.text, "met": self.is_met, "found": self.found}


def parse_requirements(texts: Iterable[str], shifts: Sequence[ShiftKind]) -> tuple[Requirement, ...]:
    """Read requirements, and refuse those that what is going to be measured cannot answer.

    Args:
        texts: Requirements, as they are written.
        shifts: Kinds with the steps that are going to be measured.

    Raises:
        UsageError: A requirement that is not understood, or about what is not measured.
    """
    requirements = tuple(map(_parsed, texts))
    measured = {kind.name: kind for kind in shifts}
    for requirement in requirements:
        _check_measured(requirement, measured)
    return requirements


def needs_threshold(requirement: Requirement) -> bool:
    """Whether only a detector with a threshold can meet it."""
    metric = _METRICS.get(requirement.subject)
    return metric is None or metric.needs_threshold


def _parsed(text: str) -> Requirement:
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(f"A requirement that is not understood: {text}.", _EXAMPLE)
    subject, kind, step, sign, value = form.groups()
    if subject not in _METRICS and subject not in KINDS:
        raise UsageError(
            f"{text}: {subject} is neither a metric ({', '.join(_METRICS)}) nor a kind of shift.", _EXAMPLE
        )
    requirement = Requirement(
        text.strip(), subject, sign, _number(text, value), kind, None if step is None else _number(text, step)
    )
    _check_sense(requirement)
    return requirement


def _number(text: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{text}: {word} is no number.", _EXAMPLE)
    return value


def _check_sense(requirement: Requirement) -> None:
    """A requirement the wrong way round would always hold, or never."""
    text, metric = requirement.text, _METRICS.get(requirement.subject)
    if metric is not None:
        if requirement.sign != metric.sign:
            raise UsageError(f"{text}: {requirement.subject} is required with {metric.sign}.", _EXAMPLE)
        if not -1.0 <= requirement.value <= 1.0:
            raise UsageError(f"{text}: {requirement.subject} is between 0 and 1.", _EXAMPLE)
        return
    kind = KINDS[requirement.subject]
    if requirement.kind is not None:
        raise UsageError(f"{text}: a tolerance is that of one kind.", f"Write '{kind.name}>=STEP'.")
    sign = ">=" if requirement.value > kind.neutral else "<="
    if requirement.value == kind.neutral or requirement.sign != sign:
        raise UsageError(
            f"{text}: unshifted photos are at {step_words(kind.neutral)}, and a tolerance goes away from there.",
            f"Write '{kind.name}{sign}{step_words(requirement.value)}'.",
        )


def _check_measured(requirement: Requirement, measured: Mapping[str, ShiftKind]) -> None:
    text = requirement.text
    name = requirement.subject if requirement.subject in KINDS else requirement.kind
    if name is None:
        return
    if name not in measured:
        if name not in KINDS:
            raise UsageError(f"{text}: {name} is no kind of shift.", f"Choose from: {', '.join(KINDS)}.")
        raise UsageError(f"{text}: {name} is not measured.", f"Add --shift {name}")
    steps = measured[name].steps
    if requirement.step is not None and requirement.step not in steps:
        listed = ", ".join(map(step_words, steps))
        raise UsageError(f"{text}: step {step_words(requirement.step)} is not measured; {listed} are.")
    if requirement.subject in KINDS and not min(steps) <= requirement.value <= max(steps):
        raise UsageError(
            f"{text}: {name} is measured from {step_words(min(steps))} to {step_words(max(steps))} only.",
            f"Name the steps: --shift {name}:{step_words(requirement.value)}",
        )


def check_requirements(report: ShiftReport, requirements: Iterable[Requirement]) -> tuple[Outcome, ...]:
    """Hold requirements against what was measured."""
    return tuple(_tolerance(report, each) if each.subject in KINDS else _metric(report, each) for each in requirements)


def _metric(report: ShiftReport, requirement: Requirement) -> Outcome:
    metric = _METRICS[requirement.subject]
    values: list[tuple[float, str]] = []
    for where, step in _steps(report, requirement):
        value = metric.value(step, report.unshifted)
        if value is None or not math.isfinite(value):
            return Outcome(requirement, False, f"not measured: {where}")
        values.append((value, where))
    if not values:
        return Outcome(requirement, False, "not measured")
    worst, where = (max if requirement.sign == "<=" else min)(values, key=lambda found: found[0])
    is_met = worst <= requirement.value if requirement.sign == "<=" else worst >= requirement.value
    return Outcome(requirement, is_met, f"{worst:.4g} at worst: {where}")


def _steps(report: ShiftReport, requirement: Requirement) -> Iterable[tuple[str, ShiftStep]]:
    if requirement.kind is None:
        yield "unshifted", report.unshifted
    for result in report.results:
        for step in result.steps:
            if requirement.kind in (None, result.kind.name) and requirement.step in (None, step.step):
                yield f"{result.kind.name} {step_words(step.step)}", step


def _tolerance(report: ShiftReport, requirement: Requirement) -> Outcome:
    direction = "up" if requirement.sign == ">=" else "down"
    if why := why_no_tolerance(report.unshifted, report.threshold):
        return Outcome(requirement, False, f"not known. {why}")
    for result in report.results:
        for tolerance in result.tolerances if result.kind.name == requirement.subject else ():
            if tolerance.direction == direction:
                return Outcome(requirement, _reaches(tolerance, requirement), _words(tolerance))
    return Outcome(requirement, False, "not measured")


def _reaches(tolerance: Tolerance, requirement: Requirement) -> bool:
    if tolerance.step is None:
        return False
    return tolerance.step >= requirement.value if requirement.sign == ">=" else tolerance.step <= requirement.value


def _words(tolerance: Tolerance) -> str:
    return "no step is tolerated" if tolerance.step is None else f"tolerated as far as {step_words(tolerance.step)}"
