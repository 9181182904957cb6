"""``edge-ad evaluate --shift``: what it takes, and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.cli.console import note, print_facts, print_json, print_line, print_table, rewrite_line

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_ad.data.samples import Product
    from edge_ad.data.shift_kinds import ShiftKind
    from edge_ad.evaluation.evaluate import LoadedPredictor
    from edge_ad.evaluation.results import Rate
    from edge_ad.evaluation.shift_requirements import Outcome, Requirement
    from edge_ad.evaluation.shift_results import ShiftAt, ShiftReport, ShiftStep, Tolerance

__all__ = ["check_threshold", "measure", "plan", "show"]

_COLUMNS = ("shift", "step", "image AUROC", "pixel AUROC", "PRO", "false alarms", "bound", "recall", "good / threshold")


def plan(shifts: Sequence[str], requirements: Sequence[str]) -> tuple[tuple[ShiftKind, ...], tuple[Requirement, ...]]:
    """Read what is to be measured and what is required of it.

    Raises:
        UsageError: Something that is not understood, or requirements without a shift.
    """
    from edge_ad.data.shift_kinds import parse_shifts
    from edge_ad.errors import UsageError
    from edge_ad.evaluation.shift_requirements import parse_requirements

    if requirements and not shifts:
        raise UsageError("--require goes with --shift.", "For example: --shift line --require 'false-alarms<=0.1'")
    kinds = parse_shifts(shifts)
    return kinds, parse_requirements(requirements, kinds)


def check_threshold(requirements: Sequence[Requirement], predictor: LoadedPredictor) -> None:
    """Refuse requirements that only a bundle can meet, before anything is measured.

    Raises:
        UsageError: There is no threshold, and a requirement needs one.
    """
    from edge_ad.errors import UsageError
    from edge_ad.evaluation.shift_requirements import needs_threshold

    needy = [each.text for each in requirements if needs_threshold(each)]
    if needy and predictor.threshold is None:
        raise UsageError(f"{needy[0]} needs a threshold, and a run has none.", "Export it and name the bundle.")


def measure(
    predictor: LoadedPredictor,
    product: Product,
    kinds: Sequence[ShiftKind],
    shift_at: ShiftAt,
    trained_on: Collection[str],
) -> ShiftReport:
    """Measure with progress on stderr."""
    from edge_ad.evaluation.shift import measure_shift
    from edge_ad.evaluation.shift_results import WHERE

    steps = sum(len(kind.steps) for kind in kinds)
    note(
        f"Scoring {len(product.test)} test images of {product.name} "
        f"at {_count(steps, 'step')} of {_count(len(kinds), 'kind')} of shift "
        f"with {predictor.engine}, shifted {WHERE[shift_at]}."
    )
    if predictor.threshold is None:
        note(
            "A run has no threshold: scores alone are measured, no false alarms and no tolerance. Export it for those."
        )
    report = measure_shift(
        predictor.predict,
        product,
        predictor.size_hw,
        predictor.threshold,
        predictor.photos,
        kinds,
        shift_at=shift_at,
        engine=predictor.engine,
        trained_on=trained_on,
        progress=_Progress(),
    )
    if sys.stderr.isatty():
        rewrite_line("")
    if report.seen:
        note(f"warning: {len(report.seen)} test photos were trained on: what is measured on them promises too much.")
    return report


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class _Progress:
    """Counts up in place on a terminal; elsewhere a line when a kind begins."""

    def __init__(self) -> None:
        self._kind = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            rewrite_line(f"{done}/{total} · {what}")
        elif (kind := what.partition(" ")[0]) != self._kind:
            self._kind = kind
            note(f"{kind}: {done} of {total} images are done.")


def show(report: ShiftReport, requirements: Sequence[Requirement], folder: Path | None, *, as_json: bool) -> None:
    """Write the report that is asked for, print what was found, and fail where a requirement is not met.

    Raises:
        QualityGateError: A requirement is not met.
        StorageError: The report cannot be written.
    """
    from edge_ad.errors import QualityGateError
    from edge_ad.evaluation.shift_page import write_shift_report
    from edge_ad.evaluation.shift_requirements import check_requirements

    outcomes = check_requirements(report, requirements)
    document = report.to_json() | {"requirements": [outcome.to_json() for outcome in outcomes]}
    if folder is not None:
        page, missing = write_shift_report(folder, report, outcomes)
        note(f"Report: {page}")
        if missing:
            note(f"warning: the report has no page: {missing}")
    if as_json:
        print_json(document)
    else:
        _print(report, outcomes)
    failed = [outcome for outcome in outcomes if not outcome.is_met]
    if failed:
        words = "; ".join(f"{outcome.requirement.text} ({outcome.found})" for outcome in failed)
        raise QualityGateError(f"{len(failed)} of {len(outcomes)} requirements are not met: {words}.")


def _print(report: ShiftReport, outcomes: Sequence[Outcome]) -> None:
    from edge_ad.evaluation.shift_results import WHERE

    threshold = report.threshold
    print_facts(
        {
            "product": report.product,
            "engine": report.engine,
            "images": f"{report.images}, {report.defective} of them defective",
            "shifted": f"{WHERE[report.shift_at]} ({_sizes(report)})",
            "threshold": "none: scores alone" if threshold is None else f"{threshold.value:.6g} ({threshold.rule})",
        }
    )
    rows = [_row("unshifted", "", report.unshifted)]
    for result in report.results:
        rows += [_row(result.kind.name, f"{step.step:.6g}", step) for step in result.steps]
    shown = range(len(_COLUMNS)) if threshold is not None else range(5)
    columns = [_COLUMNS[place] for place in shown]
    if threshold is None:
        columns.append("median good score")
        rows = [[*row[:5], row[-1]] for row in rows]
    else:
        rows = [row[:-1] for row in rows]
    print_table(columns, rows, title="\nShifts")
    if threshold is not None:
        _print_tolerances(report)
    for outcome in outcomes:
        print_line(f"{'met' if outcome.is_met else 'NOT MET'}: {outcome.requirement.text} ({outcome.found})")


def _sizes(report: ShiftReport) -> str:
    height, width = report.size_hw
    if report.shift_at == "network":
        return f"{width}×{height} pixels"
    first, *more = report.photo_sizes_hw
    return f"{first[1]}×{first[0]} pixels{f' and {len(more)} other sizes' if more else ''}"


def _row(name: str, step: str, found: ShiftStep) -> list[object]:
    bound = found.false_alarm_bound
    return [
        name,
        step,
        *(None if value is None else f"{value:.3f}" for value in (found.image_auroc, found.pixel_auroc, found.pro)),
        _rate(found.false_alarms),
        None if bound is None else f"{bound:.2f}",
        _rate(found.recall),
        None if found.good_over_threshold is None else f"{found.good_over_threshold:.2f}",
        found.good_score,
    ]


def _rate(rate: Rate | None) -> str | None:
    return None if rate is None else f"{rate.value:.2f} ({rate.count}/{rate.total})"


def _print_tolerances(report: ShiftReport) -> None:
    from edge_ad.evaluation.shift_results import MARGIN

    assert report.threshold is not None
    asked = report.threshold.false_alarm_rate
    rows = [
        [
            result.kind.name,
            *(_tolerance(result.tolerances, direction) for direction in ("down", "up")),
            result.kind.unit,
        ]
        for result in report.results
    ]
    print_table(
        ["shift", "down to", "up to", "unit"],
        rows,
        title=f"\nTolerated: false alarms to {asked + MARGIN:.0%}, recall at most {MARGIN * 100:.0f} points lower",
    )
    if report.why_no_tolerance:
        print_line(report.why_no_tolerance)


def _tolerance(tolerances: Sequence[Tolerance], direction: str) -> str | None:
    for found in tolerances:
        if found.direction == direction:
            if found.step is None:
                return "none"
            return f"{found.step:.6g}" if found.first_failing is not None else f"{found.step:.6g} or more"
    return None
