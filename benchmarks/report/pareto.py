"""Accuracy against latency: which engines no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.report.svg import Scale, axis_name, label, line, svg, ticks

__all__ = ["Point", "front", "pareto_chart"]

_WIDTH, _HEIGHT = 1052, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 24, 18, 52
_LINE = 15
_RADIUS = 6
_FARTHEST = 7  # lines


@dataclass(frozen=True)
class Point:
    """One engine.

    Attributes:
        name: What it is.
        latency_ms: Median for one frame, above 0.
        accuracy: In [0, 1].
        css: Class of its colour.
    """

    name: str
    latency_ms: float
    accuracy: float
    css: str = "s1"


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other is at least as fast and at least as accurate as; from the fastest on."""
    best: list[Point] = []
    for point in sorted(points, key=lambda item: (item.latency_ms, -item.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def pareto_chart(points: Sequence[Point], accuracy_name: str) -> str:
    """Draw engines of one product; those on the front are filled and joined.

    Args:
        points: At least one.
        accuracy_name: Name of the vertical axis.

    Returns:
        An ``<svg>`` element coloured by the classes ``s1`` …, ``axis``, ``front``.
    """
    x = Scale.around([point.latency_ms for point in points], _LEFT, _WIDTH - _RIGHT, is_log=True, margin=0.12)
    y = Scale.around([point.accuracy for point in points], _HEIGHT - _BOTTOM, _TOP, margin=0.18, least=0.01)
    best = front(points)
    parts = [_grid(x, y, accuracy_name), _steps(best, x, y)]
    taken = [(x(point.latency_ms) - _RADIUS, y(point.accuracy) + 4, 2.0 * _RADIUS) for point in points]  # by marks
    for point in sorted(points, key=lambda item: item.latency_ms):
        parts.append(_mark(point, x, y, on_front=point in best, taken=taken))
    return svg(_WIDTH, _HEIGHT, f"{accuracy_name} against latency", "".join(parts))


def _grid(x: Scale, y: Scale, name: str) -> str:
    base = _HEIGHT - _BOTTOM
    parts = [
        line(x(value), _TOP, x(value), base) + label(x(value), base + 18, f"{value:g}", "middle") for value in ticks(x)
    ]
    digits = 3 if y.high - y.low < 0.1 else 2
    for value in (tick for tick in ticks(y, 5) if tick <= 1):
        parts.append(line(_LEFT, y(value), _WIDTH - _RIGHT, y(value)))
        parts.append(label(_LEFT - 8, y(value) + 4, f"{value:.{digits}f}", "end"))
    parts.append(label((_LEFT + _WIDTH - _RIGHT) / 2, base + 40, "ms per frame, end to end (median)", "middle"))
    parts.append(axis_name((_TOP + base) / 2, name))
    return "".join(parts)


def _steps(best: Sequence[Point], x: Scale, y: Scale) -> str:
    path = f"M{x(best[0].latency_ms):.1f},{y(best[0].accuracy):.1f}"
    for point in best[1:]:
        path += f"H{x(point.latency_ms):.1f}V{y(point.accuracy):.1f}"
    return f'<path class="front" d="{path}H{_WIDTH - _RIGHT}"/>'


def _mark(point: Point, x: Scale, y: Scale, *, on_front: bool, taken: list[tuple[float, float, float]]) -> str:
    across, up = x(point.latency_ms), y(point.accuracy)
    text = f"{point.name}: {point.latency_ms:.3g} ms, {point.accuracy:.3f}"
    css = point.css if on_front else f"{point.css} hollow"
    length = 6.6 * len(point.name)
    is_right = across + 10 + length > _WIDTH - _RIGHT
    left = across - 10 - length if is_right else across + 10
    height = _free_height(left, up - 9, length, taken)
    taken.append((left, height, length))
    begin = across - 10 if is_right else across + 10
    name = label(begin, height, point.name, "end" if is_right else "start")
    leader = "" if abs(height - up) < 2 * _LINE else line(across, up, begin, height - 4)
    mark = f'<circle class="{css}" cx="{across:.1f}" cy="{up:.1f}" r="{_RADIUS}"><title>{escape(text)}</title></circle>'
    return leader + mark + name


def _free_height(left: float, wanted: float, length: float, taken: Sequence[tuple[float, float, float]]) -> float:
    """A line near the wanted one on which no other name stands."""
    for lines in sorted(range(-_FARTHEST, _FARTHEST + 1), key=abs):
        height = wanted + lines * _LINE
        inside = _TOP + 6 < height < _HEIGHT - _BOTTOM
        if inside and not any(
            abs(height - other) < _LINE - 2 and left < begin + size and begin < left + length
            for begin, other, size in taken
        ):
            return height
    return wanted
