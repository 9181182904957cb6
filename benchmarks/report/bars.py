"""Charts of horizontal rows: distributions of latency, stacked stages, ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.report.rows import LatencyFigures, PeerSide
from benchmarks.report.svg import Scale, label, line, svg, ticks

__all__ = ["distribution_chart", "ratio_chart", "stage_chart"]

_WIDTH, _LEFT, _RIGHT, _TOP = 1052, 300, 96, 30
_ROW = 34


def distribution_chart(rows: Sequence[tuple[str, LatencyFigures, Sequence[float]]]) -> str:
    """Draw each latency from its fastest run to its slowest on one logarithmic axis; nothing is cut off.

    The bar goes from the 10th to the 90th percentile, the tall mark is the median, dots are p95 and p99.

    Args:
        rows: Name, figures and the 101 quantiles from 0 to 1, in milliseconds.
    """
    height = _TOP + _ROW * len(rows) + 34
    largest = [quantiles[-1] for _, _, quantiles in rows]
    x = Scale.around([*(quantiles[0] for _, _, quantiles in rows), *largest], _LEFT, _WIDTH - _RIGHT, is_log=True)
    parts = [_axis(x, height, "ms, logarithmic")]
    for index, (name, figures, quantiles) in enumerate(rows):
        parts.append(_distribution(_TOP + _ROW * index, x, name, figures, quantiles))
    return svg(_WIDTH, height, "Distribution of latency", "".join(parts))


def _distribution(y: float, x: Scale, name: str, figures: LatencyFigures, quantiles: Sequence[float]) -> str:
    middle = y + _ROW / 2
    low, high = quantiles[10], quantiles[90]
    words = (
        f"{name}: min {figures.min_ms:.4g}, p50 {figures.p50_ms:.4g}, p90 {figures.p90_ms:.4g}, "
        f"p95 {figures.p95_ms:.4g}, p99 {figures.p99_ms:.4g}, max {figures.max_ms:.4g} ms, {figures.runs} runs"
    )
    dots = "".join(
        f'<circle class="s1" cx="{x(value):.1f}" cy="{middle:.1f}" r="3"/>'
        for value in (figures.p95_ms, figures.p99_ms)
    )
    return (
        label(_LEFT - 10, middle + 4, _short(name), "end")
        + line(x(quantiles[0]), middle, x(quantiles[-1]), middle, "whisker")
        + f'<rect class="s1 bar" x="{x(low):.1f}" y="{y + 9:.1f}" width="{max(x(high) - x(low), 1):.1f}" '
        f'height="{_ROW - 18}"><title>{escape(words)}</title></rect>'
        + line(x(figures.p50_ms), y + 5, x(figures.p50_ms), y + _ROW - 5, "median")
        + dots
        + label(x(quantiles[-1]) + 8, middle + 4, f"max {quantiles[-1]:.3g}")
    )


def stage_chart(rows: Sequence[tuple[str, Mapping[str, float]]], stages: Sequence[str]) -> str:
    """Draw the median of each stage, one after the other.

    Args:
        rows: Name, and stage → milliseconds for those that were measured.
        stages: All stages, in the order of the work; the colour is the index.
    """
    height = _TOP + _ROW * len(rows) + 34
    totals = [sum(values.values()) for _, values in rows]
    x = Scale(0.0, max(totals) * 1.02, _LEFT, _WIDTH - _RIGHT)
    parts = [_axis(x, height, "ms per batch, medians of the stages")]
    for index, (name, values) in enumerate(rows):
        parts.append(_stacked(_TOP + _ROW * index, x, name, values, stages))
    return svg(_WIDTH, height, "Time of each stage", "".join(parts))


def _stacked(y: float, x: Scale, name: str, values: Mapping[str, float], stages: Sequence[str]) -> str:
    parts, begin = [label(_LEFT - 10, y + _ROW / 2 + 4, _short(name), "end")], 0.0
    for index, stage in enumerate(stages, 1):
        if stage not in values:
            continue
        width = x(begin + values[stage]) - x(begin)
        parts.append(
            f'<rect class="s{index}" x="{x(begin):.1f}" y="{y + 7:.1f}" width="{width:.2f}" height="{_ROW - 14}">'
            f"<title>{escape(f'{name}, {stage}: {values[stage]:.4g} ms')}</title></rect>"
        )
        begin += values[stage]
    return "".join(parts) + label(x(begin) + 8, y + _ROW / 2 + 4, f"{begin:.3g} ms")


def ratio_chart(sides: Sequence[PeerSide], reference: str) -> str:
    """Draw how many times as long each side takes as the reference, with the range over the rounds.

    Args:
        sides: At least one.
        reference: Name of what they are divided by.
    """
    height = _TOP + _ROW * len(sides) + 34
    every = [value for side in sides for value in (side.ratio, *side.ratio_per_round)]
    x = Scale.around([*every, 1.0], _LEFT, _WIDTH - _RIGHT, is_log=True)
    parts = [
        _axis(x, height, f"times as long as {reference}, logarithmic"),
        line(x(1), _TOP - 4, x(1), height - 34, "one"),
    ]
    for index, side in enumerate(sides):
        parts.append(_ratio(_TOP + _ROW * index, x, side, is_reference=side.name == reference))
    return svg(_WIDTH, height, f"Ratios to {reference}", "".join(parts))


def _ratio(y: float, x: Scale, side: PeerSide, *, is_reference: bool) -> str:
    middle, begin, end = y + _ROW / 2, *sorted((x(1), x(side.ratio)))
    low, high = min(side.ratio_per_round), max(side.ratio_per_round)
    words = f"{side.name}: {side.ratio:.3g} ({low:.3g} to {high:.3g}), {side.p50_ms:.4g} ms"
    return (
        label(_LEFT - 10, middle + 4, _short(side.name), "end")
        + f'<rect class="{"s2" if is_reference else "s1"} bar" x="{begin:.1f}" y="{y + 9:.1f}" '
        f'width="{max(end - begin, 2):.1f}" height="{_ROW - 18}"><title>{escape(words)}</title></rect>'
        + line(x(low), middle, x(high), middle, "whisker")
        + label(max(x(high), end) + 8, middle + 4, f"{side.ratio:.3g} ×")
    )


def _axis(x: Scale, height: float, name: str) -> str:
    marks = [
        line(x(value), _TOP - 6, x(value), height - 34) + label(x(value), _TOP - 12, f"{value:g}", "middle")
        for value in ticks(x)
    ]
    return "".join(marks) + label((_LEFT + _WIDTH - _RIGHT) / 2, height - 10, name, "middle")


def _short(name: str) -> str:
    return name if len(name) <= 38 else f"{name[:37]}…"
