"""Sections of the report: each a heading, a sentence, a chart and a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.report.charts import (
    SERIES,
    Point,
    distribution_chart,
    pareto_chart,
    ratio_chart,
    scaling_chart,
    stage_chart,
)
from benchmarks.report.comparison import Comparison
from benchmarks.report.results import Results
from benchmarks.report.rows import LatencyRow, PeersRow, ScalingRow
from benchmarks.report.tables import (
    Table,
    accuracy_table,
    change_table,
    cost_table,
    latency_table,
    peers_table,
    scaling_table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Section", "all_sections"]

_STAGES = ("capture", "decode", "prepare", "h2d", "compute", "d2h", "finish")
_PRECISIONS = ("fp32", "int8", "fp16", "bf16", "int8-bf16")
_SETTLED = "medians of three windows agree within a tenth"


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: Its heading.
        lead: What it shows, in a sentence or two.
        charts: Charts with a heading each, which may be empty.
        table: Its table, if it has one.
        notes: What to know about it.
        is_wide: Whether charts take the whole width; else two stand beside each other.
    """

    title: str
    lead: str
    charts: Sequence[tuple[str, Figure]] = ()
    table: Table | None = None
    notes: Sequence[str] = ()
    is_wide: bool = True


def all_sections(results: Results, comparison: Comparison | None) -> Iterator[Section]:
    """What there is to show, in the order of the page.

    Args:
        results: Recorded rows.
        comparison: With older ones; None where there are none.
    """
    single = [row for row in results.latency if row.batch == 1]
    if comparison is not None:
        yield _changes(comparison)
    if any(row.accuracy for row in single):
        yield _pareto(single)
    if results.latency:
        yield from _latencies(results.latency)
    for peers in results.peers:
        yield Section(
            f"Against the alternatives: {peers.product}, {peers.scope}",
            f"In turns in one run, on the same frames; above 1 is slower than {peers.reference}.",
            [("", ratio_chart(peers.sides, peers.reference))],
            table=peers_table(peers),
            notes=_rounds(peers),
        )
    if results.scaling:
        yield _scaling(results.scaling)
    if results.accuracy:
        lead = (
            "Trainings on this machine, mean ± standard deviation over seeds. Published figures are not in this table."
        )
        yield Section("Accuracy of the methods", lead, table=accuracy_table(results.accuracy))


def _changes(comparison: Comparison) -> Section:
    regressions, limit = comparison.regressions, comparison.limits.regression
    counted = f"{len(comparison.changes)} engine{'s' if len(comparison.changes) != 1 else ''} compared"
    found = f"{len(regressions)} past the limit" if regressions else "none past the limit"
    lead = (
        f"{counted}, {found} of {limit:.0%}. Ratios of medians with a bootstrap interval over rounds; all intervals "
        "together raise a false alarm in at most one of twenty comparisons."
    )
    notes = [f"Not in the old results: {name}" for name in comparison.only_new]
    notes += [f"Not in the new results: {name}" for name in comparison.only_old]
    return Section("Compared with before", lead, table=change_table(comparison), notes=notes)


def _pareto(rows: Sequence[LatencyRow]) -> Section:
    products: defaultdict[str, list[Point]] = defaultdict(list)
    missing = 0
    for row, name in zip(rows, _names(rows, of_one_product=True), strict=True):
        value = None if row.accuracy is None else row.accuracy.metrics.get("image_auroc")
        if value is None:
            missing += 1
            continue
        products[row.product].append(Point(name, row.end_to_end.p50_ms, value, *_series(row.engine.precision)))
    charts = [(product, pareto_chart(points, "image AUROC")) for product, points in products.items()]
    notes = [f"Engines without test images, and so without accuracy: {missing}."] if missing else []
    lead = "Filled: no other engine is both as fast and as accurate. Batch 1, from the photo's file to the verdict."
    return Section("Accuracy against latency", lead, charts, notes=notes)


def _series(precision: str) -> tuple[str, str]:
    """Name and colour of a precision."""
    known = precision in _PRECISIONS
    return precision.upper(), SERIES[_PRECISIONS.index(precision) if known else -1]


def _latencies(rows: Sequence[LatencyRow]) -> Iterator[Section]:
    unsettled = sum(not row.protocol.stable for row in rows)
    quick = sum(row.protocol.quick for row in rows)
    notes = []
    if unsettled:
        notes.append(
            f"{unsettled} of {len(rows)} rows did not settle ({_SETTLED} in the others): the machine was busy or "
            "its clock moved. Use their ratios, not their times."
        )
    if quick:
        notes.append(f"{quick} of {len(rows)} rows are quick looks, shorter than 10 s and 1000 runs.")
    shown = [(name, row.end_to_end, row.quantiles_ms) for name, row in zip(_names(rows), rows, strict=True)]
    lead = "Every run counts: whiskers reach from the fastest to the slowest. Bar: p10 to p90; dots: p95 and p99."
    yield Section(
        "Latency, end to end", lead, [("", distribution_chart(shown))], table=latency_table(rows), notes=notes
    )
    yield _stages(rows)
    yield Section(
        "Throughput, memory, cold start",
        "In flight: several requests at a time. Cold start: a fresh process, from its start to its first verdict; "
        "memory is that process's after 20 frames.",
        table=cost_table(rows),
        notes=sorted({f"Energy: {row.energy_absent}." for row in rows if row.energy_absent}),
    )


def _stages(rows: Sequence[LatencyRow]) -> Section:
    values = [
        (name, {stage: part.p50_ms for stage, part in row.stages.items() if part and stage in _STAGES})
        for name, row in zip(_names(rows), rows, strict=True)
    ]
    absent = sorted({f"{stage}: {why}." for row in rows for stage, why in row.absent.items()})
    lead = "Separate clocks around each step of the same runs."
    return Section("Where the time goes", lead, [("", stage_chart(values, _STAGES))], notes=absent)


def _rounds(peers: PeersRow) -> list[str]:
    if peers.rounds is None or peers.calm_rounds is None:
        return []
    return [f"From {peers.calm_rounds} of {peers.rounds} rounds: those in which the host left the machine its time."]


def _scaling(rows: Sequence[ScalingRow]) -> Section:
    charts = [
        (f"{row.subject}: exponent {row.exponent:.2f} ({row.low:.2f} to {row.high:.2f})", scaling_chart(row))
        for row in rows
    ]
    lead = "Cost = constant × sizeᵉ, fitted by least squares on logarithms; the interval is that of the slope, 95 %."
    return Section("Scaling", lead, charts, table=scaling_table(rows), is_wide=False)


def _names(rows: Sequence[LatencyRow], *, of_one_product: bool = False) -> list[str]:
    """Names for charts: what all rows have in common is left out, and the product where a chart is of one."""
    parts = [
        (
            row.product,
            row.method,
            row.engine.backend,
            row.engine.precision,
            f"{row.engine.threads or 'auto'} threads",
            f"batch {row.batch}",
        )
        for row in rows
    ]
    always = (1, 3) if of_one_product else (0, 3)
    differing = [index for index in range(1, len(parts[0])) if len({part[index] for part in parts}) > 1]
    return [" ".join(part[index] for index in sorted({*always, *differing})) for part in parts]
