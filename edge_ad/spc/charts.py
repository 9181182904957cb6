"""Charts of statistics, drawn by matplotlib: control charts, Pareto, and regions over the part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.evaluation.charts import DEFECTIVE, GOOD, INK, MUTED, chart_style, new_chart
from edge_ad.spc.control_charts import ControlChart
from edge_ad.spc.places import PlaceMap
from edge_ad.spc.shifts import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["control_chart", "pareto_chart", "place_chart", "plain_chart"]

_TICKS = 7
_LIMITS: dict[str, Any] = {"color": INK, "linewidth": 1.0}
_MOST_BARS = 12
_LONGEST_NAME = 44


@chart_style()
def control_chart(
    chart: ControlChart, spans: Sequence[Span], label: str, *, is_share: bool, marked: Sequence[int] = ()
) -> Figure:
    """Draw points with centre line and limits; a signal is red, with the lowest number of its rules.

    Args:
        chart: The points.
        spans: When each subgroup was; drawn side by side, whatever time lies between.
        label: Of the vertical axis.
        is_share: Whether values are shares, shown in percent.
        marked: Points at which another bundle began to judge.
    """
    figure, axes = new_chart(2.9)
    places = np.arange(len(spans), dtype=np.float64)
    edges = np.append(places - 0.5, len(spans) - 0.5)
    for limit in (chart.lower, chart.upper):
        axes.stairs(limit, edges, baseline=None, linestyle="--", **_LIMITS)
    axes.axhline(chart.centre, color=MUTED, linewidth=1.0)
    axes.plot(places, chart.values, ".-", color=GOOD, markersize=5, linewidth=1.1)
    _draw_signals(axes, chart)
    _dress(axes, spans, label, is_share=is_share, marked=marked)
    return figure


@chart_style()
def plain_chart(
    values: NDArray[np.float64], spans: Sequence[Span], label: str, *, is_share: bool, marked: Sequence[int] = ()
) -> Figure:
    """Draw points alone, where no base period gives limits; arguments as of `control_chart`."""
    figure, axes = new_chart(2.9)
    axes.plot(np.arange(len(spans)), values, ".-", color=GOOD, markersize=5, linewidth=1.1)
    _dress(axes, spans, label, is_share=is_share, marked=marked)
    return figure


@chart_style()
def pareto_chart(rows: Sequence[tuple[str, int]], unit: str) -> Figure:
    """Draw kinds or places of defects: a bar for each, and the share of all that the bars down to it make.

    Args:
        rows: Name and count, the most frequent first, at least one; what is beyond the twelfth is one bar.
        unit: What is counted.
    """
    shown = list(rows[:_MOST_BARS])
    if rest := sum(count for _, count in rows[_MOST_BARS:]):
        shown.append((f"{len(rows) - _MOST_BARS} others", rest))
    names, counts = [_short(name) for name, _ in shown], [count for _, count in shown]
    figure, axes = new_chart(0.9 + 0.3 * len(shown))
    places = range(len(shown))
    axes.barh(list(places), counts, 0.7, color=DEFECTIVE, alpha=0.75)
    shares = np.cumsum(counts) / sum(counts)
    for place, count, share in zip(places, counts, shares, strict=True):
        axes.annotate(f"{count}   Σ {share:.0%}", (count, place), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(counts))
    axes.set_xlabel(unit)
    axes.locator_params("x", integer=True)
    axes.grid(axis="x")
    return figure


@chart_style()
def place_chart(found: PlaceMap) -> Figure:
    """Draw how many regions touched each place, over a picture of the part where one is kept.

    Args:
        found: The map.
    """
    width, height = found.size_wh
    figure, axes = new_chart(min(5.0, 4.6 * height / width + 0.7), 5.2)
    extent = (0.0, float(width), float(height), 0.0)
    if found.photo is not None:
        axes.imshow(found.photo, cmap="gray", extent=extent, vmin=0, vmax=255, alpha=0.75)
    shown = np.ma.masked_equal(found.counts, 0)
    image = axes.imshow(shown, cmap="YlOrRd", extent=extent, vmin=0, alpha=0.72, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.outline.set_visible(False)
    bar.ax.locator_params("y", integer=True, nbins=4)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xlabel("pixels")
    return figure


def _draw_signals(axes: Axes, chart: ControlChart) -> None:
    lowest: dict[int, int] = {}
    for signal in chart.signals:
        lowest.setdefault(signal.index, signal.rule.number)
    at = list(lowest)
    axes.plot(at, chart.values[at], "o", color=DEFECTIVE, markersize=5.5, linestyle="none")
    if len(at) > len(chart.values) / 2:  # nearly every point: the numbers would hide the line
        return
    for index, number in lowest.items():
        place = (0, 6 if chart.values[index] >= chart.centre else -13)
        label: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(str(number), (index, chart.values[index]), place, **label)


def _dress(axes: Axes, spans: Sequence[Span], label: str, *, is_share: bool, marked: Sequence[int]) -> None:
    for place in marked:
        axes.axvline(place - 0.5, color=MUTED, linestyle=":", linewidth=1.2)
    if is_share:
        from matplotlib.ticker import PercentFormatter

        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))  # with as many digits as tell ticks apart
    ticks = sorted({round(place) for place in np.linspace(0, len(spans) - 1, min(_TICKS, len(spans)))})
    axes.set_xticks(ticks, [f"{datetime.fromtimestamp(spans[place].since_unix):%m-%d %H:%M}" for place in ticks])
    axes.set_xlim(-0.5, len(spans) - 0.5)
    axes.set_ylabel(label)
    axes.margins(y=0.12)
    axes.grid(axis="y")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
