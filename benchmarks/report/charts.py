"""The charts of the report: distributions, stages, ratios, accuracy against latency, scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.report.rows import LatencyFigures, PeerSide, ScalingRow
from edge_ad.evaluation.charts import INK, MUTED, PAPER, chart_style, new_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

__all__ = [
    "SERIES",
    "Point",
    "distribution_chart",
    "front",
    "pareto_chart",
    "ratio_chart",
    "scaling_chart",
    "stacked_pareto_chart",
    "stage_chart",
]

SERIES = tuple(f"#0102{number:02x}" for number in range(1, 8))
_NAME_LENGTH = 38
_ROW_IN = 0.34
_LINE_PT = 11  # between the names of points that are close
_CHARACTER_PT = 5.2
_TIME_NAME = "ms per frame, end to end (median)"
_FAR_PT = 20  # from its point, a name needs a line to it


@dataclass(frozen=True)
class Point:
    """One engine.

    Attributes:
        name: What it is.
        latency_ms: Median for one frame, above 0.
        accuracy: In [0, 1].
        series: Name of its series, for the legend.
        colour: Of its series.
    """

    name: str
    latency_ms: float
    accuracy: float
    series: str = ""
    colour: str = SERIES[0]


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other is at least as fast and at least as accurate as; from the fastest on."""
    best: list[Point] = []
    for point in sorted(points, key=lambda item: (item.latency_ms, -item.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


@chart_style()
def distribution_chart(rows: Sequence[tuple[str, LatencyFigures, Sequence[float]]]) -> Figure:
    """Draw each latency from its fastest run to its slowest on one logarithmic axis; nothing is cut off.

    The bar goes from the 10th to the 90th percentile, the tall mark is the median, dots are p95 and p99.

    Args:
        rows: Name, figures and the 101 quantiles from 0 to 1, in milliseconds.
    """
    figure, axes = _rows_chart([name for name, _, _ in rows], "ms, logarithmic", is_log=True)
    for row, (_, figures, quantiles) in enumerate(rows):
        axes.hlines(row, quantiles[0], quantiles[-1], color=MUTED, linewidth=1)
        axes.barh(row, quantiles[90] - quantiles[10], 0.5, quantiles[10], color=SERIES[0], alpha=0.75)
        axes.plot([figures.p95_ms, figures.p99_ms], [row, row], "o", color=SERIES[0], markersize=4)
        axes.vlines(figures.p50_ms, row - 0.35, row + 0.35, color=INK, linewidth=2)
        _write(axes, quantiles[-1], row, f"max {quantiles[-1]:.3g}")
    return figure


@chart_style()
def stage_chart(rows: Sequence[tuple[str, Mapping[str, float]]], stages: Sequence[str]) -> Figure:
    """Draw the median of each stage, one after the other.

    Args:
        rows: Name, and stage → milliseconds for those that were measured.
        stages: All stages, in the order of the work; the colour is the index.
    """
    figure, axes = _rows_chart([name for name, _ in rows], "ms per batch, medians of the stages")
    begin = [0.0] * len(rows)
    for stage, colour in zip(stages, SERIES, strict=False):
        times = [values.get(stage, 0.0) for _, values in rows]
        if any(times):
            axes.barh(range(len(rows)), times, 0.55, begin, color=colour, label=stage)
        begin = [start + time for start, time in zip(begin, times, strict=True)]
    for row, total in enumerate(begin):
        _write(axes, total, row, f"{total:.3g} ms")
    figure.legend(loc="outside upper left", ncols=len(stages))
    return figure


@chart_style()
def ratio_chart(sides: Sequence[PeerSide], reference: str) -> Figure:
    """Draw how many times as long each side takes as the reference, with the range over the rounds.

    Args:
        sides: At least one.
        reference: Name of what they are divided by.
    """
    names, axis = [side.name for side in sides], f"times as long as {reference}, logarithmic"
    figure, axes = _rows_chart(names, axis, is_log=True)
    axes.axvline(1.0, color=INK, linestyle="--", linewidth=1)
    for row, side in enumerate(sides):
        low, high = min(side.ratio_per_round), max(side.ratio_per_round)
        axes.barh(row, side.ratio - 1, 0.5, 1.0, color=SERIES[side.name == reference], alpha=0.75)
        axes.hlines(row, low, high, color=MUTED, linewidth=1.5)
        _write(axes, max(high, side.ratio, 1.0), row, f"{side.ratio:.3g} ×")
    return figure


@chart_style()
def pareto_chart(points: Sequence[Point], accuracy_name: str) -> Figure:
    """Draw the engines of one product; those that no other beats in both are filled and joined.

    Args:
        points: At least one.
        accuracy_name: Name of the vertical axis.
    """
    figure, axes = new_chart(4.0)
    _draw_points(axes, points, accuracy_name)
    _add_series_legend(figure, axes, points)
    _name_points(figure, axes, points)
    return figure


@chart_style()
def stacked_pareto_chart(
    panels: Mapping[str, Sequence[Point]], time_name: str = _TIME_NAME, times: Mapping[str, float] | None = None
) -> Figure:
    """Draw several accuracies of the same engines against the same times, one above the other.

    Args:
        panels: Name of the vertical axis → at least one point.
        time_name: Name of the horizontal axes.
        times: Name → milliseconds of what has a time alone; a line each.
    """
    figure, first = new_chart(3.9 * len(panels))
    first.remove()
    grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (name, points) in zip(grid, panels.items(), strict=True):
        _draw_points(axes, points, name, time_name, (times or {}).values())
        for text, time in (times or {}).items():
            axes.axvline(time, color=MUTED, linestyle=":", linewidth=1)
            axes.annotate(
                text, (time, 0.02), (-3, 0), ("data", "axes fraction"), "offset points", rotation=90, ha="right"
            )
    _add_series_legend(figure, grid[0], next(iter(panels.values())))
    for axes, points in zip(grid, panels.values(), strict=True):
        _name_points(figure, axes, points)
    return figure


def _draw_points(
    axes: Axes, points: Sequence[Point], accuracy_name: str, time_name: str = _TIME_NAME, times: Iterable[float] = ()
) -> None:
    best = front(points)
    _set_limits(axes, points, times)
    axes.step(
        [*(point.latency_ms for point in best), axes.get_xlim()[1]],
        [*(point.accuracy for point in best), best[-1].accuracy],
        "--",
        color=SERIES[0],
        linewidth=1.3,
        where="post",
    )
    for point in points:
        face = point.colour if point in best else PAPER
        axes.plot(point.latency_ms, point.accuracy, "o", color=point.colour, markerfacecolor=face, markersize=8)
    axes.set_xlabel(time_name)
    axes.set_ylabel(accuracy_name)
    axes.grid()


def _add_series_legend(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    series = {point.series: point.colour for point in points if point.series}
    for name, colour in series.items():
        axes.plot([], [], "o", color=colour, label=name)
    if series:
        figure.legend(loc="outside upper left", ncols=len(series))


def _set_limits(axes: Axes, points: Sequence[Point], others: Iterable[float] = ()) -> None:
    times = [*(point.latency_ms for point in points), *others]
    values = [point.accuracy for point in points]
    reach = max(max(times) / min(times), 1.2) ** 0.15
    room = max(max(values) - min(values), 0.01) * 0.3
    _set_log_axis(axes, min(times) / reach, max(times) * reach)
    axes.set_ylim(min(values) - room, max(values) + room)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 1.0)])


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each name beside its point, moved up or down until it stands on no other, with a line to the point."""
    figure.draw_without_rendering()  # the layout decides where points are
    to_points = 72 / figure.dpi
    right, top = (axes.bbox.x1 * to_points, axes.bbox.y1 * to_points)
    placed = [tuple(axes.transData.transform((point.latency_ms, point.accuracy)) * to_points) for point in points]
    taken = [(x - 5, y, 10.0) for x, y in placed]
    for point, (x, y) in sorted(zip(points, placed, strict=True), key=lambda pair: pair[1]):
        length = _CHARACTER_PT * len(point.name)
        is_left = x + 8 + length > right
        left = x - 8 - length if is_left else x + 8
        height = _free_height(left, y + 6, length, taken, (axes.bbox.y0 * to_points, top))
        taken.append((left, height, length))
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "relpos": (is_left, 0.5)}
        axes.annotate(
            point.name,
            (point.latency_ms, point.accuracy),
            (-8 if is_left else 8, height - y),
            textcoords="offset points",
            ha="right" if is_left else "left",
            va="center",
            arrowprops=line if abs(height - y) > _FAR_PT else None,
        )


def _free_height(
    left: float,
    wanted: float,
    length: float,
    taken: Sequence[tuple[float, float, float]],
    inside: tuple[float, float],
) -> float:
    """A height near the wanted one at which no other name stands, in points."""
    for lines in sorted(range(-12, 13), key=abs):
        height = wanted + lines * _LINE_PT
        is_free = not any(
            abs(height - other) < _LINE_PT - 1 and left < begin + size and begin < left + length
            for begin, other, size in taken
        )
        if is_free and inside[0] < height < inside[1]:
            return height
    return wanted


@chart_style()
def scaling_chart(row: ScalingRow) -> Figure:
    """Draw a cost against a size on two logarithmic axes, with the power law through it.

    Args:
        row: With at least two points.
    """
    figure, axes = new_chart(3.4, 5.8)
    sizes, costs = zip(*row.points, strict=True)
    axes.loglog(sizes, costs, "o", color=SERIES[0])
    logs = [(math.log(size), math.log(cost)) for size, cost in row.points]
    middle_x, middle_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    ends = (min(sizes), max(sizes))
    fit = [math.exp(middle_y + row.exponent * (math.log(size) - middle_x)) for size in ends]
    axes.plot(ends, fit, "--", color=SERIES[0], linewidth=1.3)
    reach = max(1.2, math.sqrt(2 * min(costs) / max(costs)))  # a factor of two: noise is not to look like growth
    axes.set_ylim(min(costs) / reach, max(costs) * reach)
    _set_log_axis(axes, *axes.get_xlim())
    axes.set_xticks(sorted(set(sizes)), [f"{size:g}" for size in sorted(set(sizes))])
    _use_plain_numbers(axes.yaxis)
    axes.set_xlabel(row.quantity)
    axes.set_ylabel(row.cost)
    axes.grid(axis="y")
    return figure


def _rows_chart(names: Sequence[str], axis: str, *, is_log: bool = False) -> tuple[Figure, Axes]:
    """An empty chart with one row per name, the first at the top."""
    figure, axes = new_chart(0.8 + _ROW_IN * len(names))
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(axis)
    axes.grid(axis="x")
    axes.margins(x=0.12)
    if is_log:
        _set_log_axis(axes)
    return figure, axes


def _set_log_axis(axes: Axes, low: float | None = None, high: float | None = None) -> None:
    axes.set_xscale("log")
    if low is not None:
        axes.set_xlim(low, high)
    _use_plain_numbers(axes.xaxis)


def _use_plain_numbers(axis: XAxis | YAxis) -> None:
    """Label a logarithmic axis 5, 10, 20 instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _write(axes: Axes, x: float, row: int, text: str) -> None:
    axes.annotate(text, (x, row), (6, 0), textcoords="offset points", va="center")


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
