"""Tables of a report, once as data: the page and the Markdown show the same cells."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.report.comparison import Change, Comparison
from benchmarks.report.rows import AccuracyRow, LatencyRow, PeersRow, ScalingRow

__all__ = [
    "Table",
    "accuracy_table",
    "change_table",
    "cost_table",
    "engine_accuracy_table",
    "latency_table",
    "markdown",
    "peers_table",
    "scaling_table",
]

_NOT = "not measured"
_NUMBER = re.compile(r"[-+±]?\d")
_LONGEST_NUMBER = 24


@dataclass(frozen=True)
class Table:
    """Headings and cells.

    Attributes:
        header: One per column.
        rows: Cells, as long as the header.
        text_columns: So many columns from the left are text, whatever stands in them.
        flagged: Indices of rows to point out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    flagged: frozenset[int] = frozenset()

    @property
    def is_number(self) -> list[bool]:
        """Column → whether it is of numbers, which are aligned on the right."""
        columns = [[row[index] for row in self.rows] for index in range(len(self.header))]
        return [index >= self.text_columns and all(map(_is_number, column)) for index, column in enumerate(columns)]


def _is_number(cell: str) -> bool:
    return cell in ("", "–", _NOT) or (len(cell) < _LONGEST_NUMBER and _NUMBER.match(cell) is not None)


def markdown(table: Table) -> str:
    """The table as Markdown, without a line at its end."""
    rule = "|".join("--:" if is_number else "---" for is_number in table.is_number)
    lines = [f"| {' | '.join(table.header)} |", f"|{rule}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in table.rows)])


def latency_table(rows: Sequence[LatencyRow]) -> Table:
    """Latency end to end, in milliseconds, with the accuracy of the same engine."""
    header = ["product", "engine", "batch", "threads", "p50", "p99", "I-AUROC", "P-AUROC", "PRO", "against FP32 torch"]
    rest = ["mean", "std", "min", "p90", "p95", "max", "runs", "settled"]
    return Table([*header, *rest], [_latency_cells(row) for row in rows], text_columns=2)


def _latency_cells(row: LatencyRow) -> list[str]:
    figures, facts = row.end_to_end, row.engine
    rest = (figures.mean_ms, figures.std_ms, figures.min_ms, figures.p90_ms, figures.p95_ms, figures.max_ms)
    return [
        row.product,
        f"{row.method}, {facts.backend} {facts.precision}",
        str(row.batch),
        str(facts.threads or "auto"),
        f"{figures.p50_ms:.4g}",
        f"{figures.p99_ms:.4g}",
        *_accuracy_cells(row),
        *(f"{value:.4g}" for value in rest),
        str(figures.runs),
        f"±{row.protocol.spread:.0%}" if row.protocol.stable else f"±{row.protocol.spread:.0%}: no",
    ]


def _accuracy_cells(row: LatencyRow) -> list[str]:
    if row.accuracy is None:
        return [_NOT, _NOT, _NOT, _NOT]
    metrics = row.accuracy.metrics
    values = [f"{metrics[name]:.3f}" if name in metrics else "–" for name in ("image_auroc", "pixel_auroc", "pro")]
    return [*values, _difference(row.accuracy.difference)]


def _difference(difference: dict[str, float] | None) -> str:
    if difference is None:
        return _NOT
    names = {"image_auroc": "I", "pixel_auroc": "P", "pro": "PRO"}
    return ", ".join(f"{short} {difference[name]:+.4f}" for name, short in names.items() if name in difference)


def engine_accuracy_table(rows: Sequence[LatencyRow]) -> Table:
    """One row per product and engine: accuracy alone."""
    header = ["product", "engine", "I-AUROC", "P-AUROC", "P-AP", "PRO", "I-AUROC against FP32 torch"]
    cells = []
    for row in rows:
        if row.accuracy is None or row.batch != 1:
            continue
        metrics, difference = row.accuracy.metrics, row.accuracy.difference or {}
        values = [
            f"{metrics[name]:.3f}" if name in metrics else "–"
            for name in ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
        ]
        change = f"{difference['image_auroc']:+.4f}" if "image_auroc" in difference else _NOT
        cells.append([row.product, f"{row.method}, {row.engine.backend} {row.engine.precision}", *values, change])
    return Table(header, cells, text_columns=2)


def cost_table(rows: Sequence[LatencyRow]) -> Table:
    """Throughput, memory, cold start and energy."""
    header = [
        "product",
        "engine",
        "threads",
        "frames/s",
        "in flight",
        "cold start, s",
        "of it open",
        "RSS, MiB",
        "peak, MiB",
        "mJ/frame",
    ]
    return Table(header, [_cost_cells(row) for row in rows if row.batch == 1], text_columns=2)


def _cost_cells(row: LatencyRow) -> list[str]:
    flow, cold, energy = row.throughput, row.cold_start, row.energy
    return [
        row.product,
        f"{row.method}, {row.engine.backend} {row.engine.precision}",
        str(row.engine.threads or "auto"),
        *((f"{flow.one_by_one_fps:.4g}", f"{flow.in_flight_fps:.4g}") if flow else (_NOT, _NOT)),
        *(
            (f"{cold.total_s:.2f}", f"{cold.open_s:.2f}", f"{cold.rss_mib:.0f}", f"{cold.peak_mib:.0f}")
            if cold
            else (_NOT,) * 4
        ),
        f"{energy.mj_per_frame:.3g}" if energy else _NOT,
    ]


def accuracy_table(rows: Sequence[AccuracyRow]) -> Table:
    """Mean ± standard deviation over seeds of trainings."""
    groups: defaultdict[tuple[str, int, float, str], list[AccuracyRow]] = defaultdict(list)
    for row in rows:
        groups[row.product, row.size, row.share, row.method].append(row)
    has_paper = any(row.pro_paper is not None for row in rows)
    of_paper = (["pro_paper"], ["PRO by the papers' protocol"]) if has_paper else ([], [])
    names = ("image_auroc", "pixel_auroc", "pixel_ap", "pro", *of_paper[0], "seconds", "cpu_seconds", "peak_mib")
    header = [
        "product",
        "method",
        "size",
        "share",
        "seeds",
        "I-AUROC",
        "P-AUROC",
        "P-AP",
        "PRO",
        *of_paper[1],
        "training, s",
        "CPU, s",
        "peak, MiB",
    ]
    cells = [
        [product, method, str(size), f"{share:g}", str(len(group)), *(_over_seeds(group, name) for name in names)]
        for (product, size, share, method), group in groups.items()
    ]
    return Table(header, cells, text_columns=2)


def _over_seeds(group: Sequence[AccuracyRow], name: str) -> str:
    values = [value for row in group if (value := getattr(row, name)) is not None]
    if not values:
        return _NOT
    digits = 0 if name == "peak_mib" else 1 if name.endswith("seconds") else 3
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def scaling_table(rows: Sequence[ScalingRow]) -> Table:
    """Fitted exponents."""
    header = ["subject", "cost", "against", "from", "to", "exponent", "95 % interval", "what it means"]
    cells = []
    for row in rows:
        (first, cheap), (last, dear) = min(row.points), max(row.points)
        span = [f"{first:g}: {cheap:.3g}", f"{last:g}: {dear:.3g}"]
        cells.append(
            [
                row.subject,
                row.cost,
                row.quantity,
                *span,
                f"{row.exponent:.2f}",
                f"{row.low:.2f} to {row.high:.2f}",
                row.note,
            ]
        )
    return Table(header, cells, text_columns=3)


def peers_table(row: PeersRow) -> Table:
    """Ratios to the reference, in one run."""
    header = ["what ran", f"times as long as {row.reference}", "over the rounds", "runs", "note"]
    cells = [
        [
            side.name,
            f"{side.ratio:.3g}",
            f"{min(side.ratio_per_round):.3g} to {max(side.ratio_per_round):.3g}",
            str(side.runs),
            side.note,
        ]
        for side in row.sides
    ]
    cells += [[name, _NOT, "", "", why] for name, why in row.not_measured.items()]
    return Table(header, cells)


def change_table(comparison: Comparison) -> Table:
    """New against old."""
    header = ["product", "engine", "batch", "new / old", "interval", "how", "verdict", "accuracy"]
    flagged = frozenset(index for index, change in enumerate(comparison.changes) if change.is_regression)
    return Table(header, [_change_cells(change) for change in comparison.changes], text_columns=2, flagged=flagged)


def _change_cells(change: Change) -> list[str]:
    row, interval = change.row, change.interval
    return [
        row.product,
        f"{row.method}, {row.engine.backend} {row.engine.precision}",
        str(row.batch),
        f"{interval.ratio:.3f}",
        f"{interval.low:.3f} to {interval.high:.3f}",
        change.how,
        change.verdict,
        _fallen(change.accuracy, change.accuracy_fell),
    ]


def _fallen(accuracy: dict[str, float], fell: Iterable[str]) -> str:
    if not accuracy:
        return _NOT
    text = ", ".join(f"{name} {value:+.4f}" for name, value in accuracy.items() if abs(value) >= 5e-5) or "the same"
    return f"{text} (fell)" if list(fell) else text
