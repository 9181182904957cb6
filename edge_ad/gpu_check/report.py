"""The report of a GPU check: one file, a page for people with the same as JSON at its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edge_ad.errors import DeviceError, EdgeAdError

__all__ = ["Check", "GpuReport", "Outcome", "StepResult", "report_page"]

Outcome = Literal["passed", "failed", "cannot run"]

_MARKS: Mapping[Outcome, str] = {"passed": "passed", "failed": "FAILED", "cannot run": "cannot run here"}


@dataclass(frozen=True)
class Check:
    """Something that must hold on a GPU.

    Attributes:
        name: What must hold, in words.
        passed: Whether it does.
        detail: What was found; may be empty.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class StepResult:
    """What one step found.

    Attributes:
        name: Name of the step.
        title: What it does, in words.
        outcome: Whether all of its checks passed, or why it could not run.
        why: What failed or is missing, in one line; empty where it passed.
        hint: What to do about it; may be empty.
        seconds: Wall time.
        checks: What was checked, in order.
        facts: What was measured: name → a number or words.
        log: The last lines that its process printed, where it failed.
    """

    name: str
    title: str
    outcome: Outcome
    why: str = ""
    hint: str = ""
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class GpuReport:
    """What a GPU check found.

    Attributes:
        edge_ad: Version of edge-ad.
        made_at: When it began, in ISO 8601.
        machine: Facts about the machine: name → words.
        steps: One result per step.
        seconds: Wall time of all.
    """

    edge_ad: str
    made_at: str
    machine: Mapping[str, str]
    steps: tuple[StepResult, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0: what could run passed; 1: something failed; 3: nothing could run."""
        outcomes = {step.outcome for step in self.steps}
        if "failed" in outcomes:
            return EdgeAdError.exit_code
        return 0 if "passed" in outcomes else DeviceError.exit_code

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {**asdict(self), "exit_code": self.exit_code}

    def summary(self) -> str:
        """The outcomes, counted, in one sentence."""
        count = {mark: sum(step.outcome == mark for step in self.steps) for mark in _MARKS}
        return (
            f"{count['passed']} of {len(self.steps)} steps passed, {count['failed']} failed, "
            f"{count['cannot run']} cannot run here."
        )


def report_page(report: GpuReport) -> str:
    """The report as a page of Markdown, whose last block is the report as JSON."""
    lines = [f"# GPU check, edge-ad {report.edge_ad or '(not installed)'}", "", report.summary(), ""]
    lines += [f"- {name}: {text}" for name, text in {**report.machine, "begun": report.made_at}.items()]
    lines += ["", "| step | result | seconds | why |", "|---|---|---|---|"]
    lines += [_row(step) for step in report.steps]
    for step in report.steps:
        lines += _section(step)
    content = json.dumps(report.to_dict(), indent=1, default=str)
    return "\n".join([*lines, "", "## The same as JSON", "", "```json", content, "```", ""])


def _row(step: StepResult) -> str:
    why = " ".join([step.why, step.hint]).strip().replace("|", "\\|")
    return f"| {step.title} | {_MARKS[step.outcome]} | {step.seconds:.1f} | {why} |"


def _section(step: StepResult) -> Iterable[str]:
    if step.outcome == "cannot run":
        return []
    checks = [
        f"- {'passed' if check.passed else 'FAILED'}: {check.name}" + (f" ({check.detail})" if check.detail else "")
        for check in step.checks
    ]
    facts = [f"- {name}: {_shown(value)}" for name, value in step.facts.items()]
    log = ["", "```", *step.log, "```"] if step.log else []
    return ["", f"## {step.title}", "", *checks, *facts, *log]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(part) for part in value)
    return str(value)
