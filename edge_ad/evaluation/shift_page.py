"""The report of a measurement under shift: a record for programs, and a page with a curve for each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_ad.data.shift_kinds import step_words
from edge_ad.errors import MissingDependencyError
from edge_ad.evaluation.charts import DEFECTIVE, GOOD, INK, MUTED, chart_style, new_chart, svg
from edge_ad.evaluation.page import markup, render
from edge_ad.evaluation.report import write_together
from edge_ad.evaluation.results import Rate
from edge_ad.evaluation.shift_requirements import Outcome
from edge_ad.evaluation.shift_results import MARGIN, WHERE, ShiftReport, ShiftResult, ShiftStep
from edge_ad.outside_text import storable
from edge_ad.strict_json import to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["render_shift_page", "shift_chart", "write_shift_report"]

_FILES = ("shift.json", "shift.html")
_HEADER = ["Shift", "Step", "Image AUROC", "Pixel AUROC", "PRO"]
_DECIDED = ["False alarms", "Bound", "Recall", "Good / threshold"]
_MARKED: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.6}
_LEGEND = (
    "Red: good photos called defective, and above them the upper bound of the true rate. Blue: defective photos called "
    "defective. Dashed: image AUROC, which says nothing about the threshold. Grey ground: tolerated steps."
)


def write_shift_report(folder: Path, report: ShiftReport, outcomes: Sequence[Outcome] = ()) -> tuple[Path, str]:
    """Write ``shift.json`` and ``shift.html``, both or none.

    Where matplotlib or Jinja is not installed, as on a device, there is no page; that of an older report is removed.

    Args:
        folder: Made when missing; other files stay.
        report: What was measured.
        outcomes: Requirements and whether they are met.

    Returns:
        The page, or the record where there is no page; and what is not installed, in words.

    Raises:
        StorageError: No space or no permission; an older report is untouched and nothing is left behind.
    """
    document = report.to_json() | {"requirements": [outcome.to_json() for outcome in outcomes]}
    contents, missing = {"shift.json": f"{to_json(document, indent=2)}\n".encode()}, ""
    try:
        contents["shift.html"] = storable(render_shift_page(report, outcomes)).encode()
    except MissingDependencyError as error:
        missing = f"{error.message} {error.hint}"
    write_together(folder, contents, _FILES)
    return folder / _FILES[0 if missing else 1], missing


def render_shift_page(report: ShiftReport, outcomes: Sequence[Outcome] = ()) -> str:
    """Render what was measured as a complete HTML document.

    Raises:
        MissingDependencyError: matplotlib or Jinja is not installed.
    """
    threshold = report.threshold
    return render(
        "shift.html",
        title=f"{report.product} under shift",
        report=report,
        where=WHERE[report.shift_at],
        figures=list(_figures(report)),
        allowed=0.0 if threshold is None else threshold.false_alarm_rate + MARGIN,
        margin=MARGIN,
        outcomes=[[each.requirement.text, "met" if each.is_met else "not met", each.found] for each in outcomes],
        legend=_LEGEND if threshold is not None else "Dashed: image AUROC.",
        charts=[
            (result.kind.name, _words(result), markup(svg(shift_chart(report, result), f"{result.kind.name}: curves")))
            for result in report.results
        ],
        header=_HEADER + (_DECIDED if threshold is not None else []),
        rows=list(_rows(report)),
    )


@chart_style()
def shift_chart(report: ShiftReport, result: ShiftResult) -> Figure:
    """Draw false alarms, recall and image AUROC over the steps of a kind, unshifted photos among them.

    Args:
        report: What was measured.
        result: The kind.
    """
    figure, axes = new_chart(2.3, 5.2)
    places = sorted([*((step.step, step) for step in result.steps), (result.kind.neutral, report.unshifted)],
                    key=lambda place: place[0])  # fmt: skip
    steps = [step for _, step in places]
    ticks = range(len(steps))
    middle = steps.index(report.unshifted)
    reached = {tolerance.step for tolerance in result.tolerances} - {None}
    held = [place for place in ticks if place == middle or places[place][0] in reached]
    if report.threshold is not None and len(held) > 1:
        axes.axvspan(min(held) - 0.3, max(held) + 0.3, color=MUTED, alpha=0.13, linewidth=0)
    _draw(figure, ticks, steps)
    axes.set_xticks(list(ticks), ["none" if place == middle else step_words(places[place][0]) for place in ticks])
    axes.tick_params("x", labelcolor=MUTED)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel(result.kind.unit)
    axes.grid(axis="y")
    return figure


def _draw(figure: Figure, ticks: Sequence[int], steps: Sequence[ShiftStep]) -> None:
    axes = figure.axes[0]
    drawn = (
        ([step.image_auroc for step in steps], {"color": INK, "linestyle": "--", "linewidth": 1.0}),
        ([_value(step.recall) for step in steps], {"color": GOOD, **_MARKED}),
        ([_value(step.false_alarms) for step in steps], {"color": DEFECTIVE, **_MARKED}),
    )
    for values, style in drawn:
        if None not in values:
            axes.plot(ticks, np.array(values, np.float64), **style)
    bounds = [step.false_alarm_bound for step in steps]
    if None not in bounds:
        low, high = np.array(drawn[2][0], np.float64), np.array(bounds, np.float64)
        axes.fill_between(ticks, low, high, color=DEFECTIVE, alpha=0.15, linewidth=0)


def _figures(report: ShiftReport) -> Iterator[tuple[str, str, str]]:
    found = report.unshifted
    for name, value in (("Image AUROC", found.image_auroc), ("Pixel AUROC", found.pixel_auroc), ("PRO", found.pro)):
        if value is not None:
            yield name, f"{value:.3f}", "unshifted"
    for name, rate in (("False alarms", found.false_alarms), ("Recall", found.recall)):
        if rate is not None:
            yield name, f"{rate.value:.1%}", f"{rate.count} of {rate.total}, unshifted"


def _words(result: ShiftResult) -> str:
    """How far a kind is tolerated, in words."""
    parts = []
    for tolerance in result.tolerances:
        way = "down" if tolerance.direction == "down" else "up"
        if tolerance.step is None:
            parts.append(f"{way}: no step is tolerated")
        elif tolerance.first_failing is None:
            parts.append(f"{way}: tolerated to {step_words(tolerance.step)} and perhaps further")
        else:
            parts.append(f"{way}: tolerated to {step_words(tolerance.step)}")
    return "; ".join(parts)


def _rows(report: ShiftReport) -> Iterator[list[str]]:
    yield ["unshifted", "", *_cells(report.unshifted, is_decided=report.threshold is not None)]
    for result in report.results:
        for step in result.steps:
            cells = _cells(step, is_decided=report.threshold is not None)
            yield [result.kind.name, step_words(step.step), *cells]


def _cells(step: ShiftStep, *, is_decided: bool) -> list[str]:
    cells = [_figure(value, 3) for value in (step.image_auroc, step.pixel_auroc, step.pro)]
    if not is_decided:
        return cells
    rates = [
        "–" if rate is None else f"{rate.value:.2f} ({rate.count} of {rate.total})"
        for rate in (step.false_alarms, step.recall)
    ]
    return [*cells, rates[0], _figure(step.false_alarm_bound, 2), rates[1], _figure(step.good_over_threshold, 2)]


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _value(rate: Rate | None) -> float | None:
    return None if rate is None else rate.value
