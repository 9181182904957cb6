"""Pieces of SVG that the charts share: axes on a linear or logarithmic scale, text, and an element around it all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_FEWEST_TICKS = 3

__all__ = ["Scale", "axis_name", "label", "line", "svg", "ticks"]


@dataclass(frozen=True)
class Scale:
    """Values → pixels.

    Attributes:
        low: Value at ``start``; above 0 where logarithmic.
        high: Value at ``end``; above ``low``.
        start: Pixel of ``low``.
        end: Pixel of ``high``; may be less than ``start``.
        is_log: Whether equal ratios have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    @classmethod
    def around(
        cls,
        values: Sequence[float],
        start: float,
        end: float,
        *,
        is_log: bool = False,
        margin: float = 0.06,
        least: float = 0.0,
    ) -> Scale:
        """A scale that holds all values, with some room on both sides.

        Args:
            values: At least one; above 0 where logarithmic.
            start: First pixel.
            end: Last pixel.
            is_log: As in the class.
            margin: Room, as a share of the range.
            least: Smallest range, so that noise is not shown as large.
        """
        low, high = min(values), max(values)
        if high - low < least:
            low, high = (low + high - least) / 2, (low + high + least) / 2
        if is_log:
            reach = max(math.log(high / low), 0.2) * margin
            return cls(low / math.exp(reach), high * math.exp(reach), start, end, is_log=True)
        reach = max(high - low, abs(high) * 1e-3, 1e-9) * margin
        return cls(low - reach, high + reach, start, end)

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(scale: Scale, most: int = 7) -> list[float]:
    """Round values inside a scale: 1, 2 and 5 times a power of ten.

    Args:
        scale: The scale.
        most: About so many on a linear scale.
    """
    if not scale.is_log:
        step = _round_step((scale.high - scale.low) / most)
        first = math.ceil(scale.low / step)
        return [index * step for index in range(first, math.floor(scale.high / step) + 1)]
    decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    for bases in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(tenth / 10 for tenth in range(10, 100))):
        found = [round(base * 10.0**decade, 12) for decade in decades for base in bases]
        inside = [value for value in found if scale.low <= value <= scale.high]
        if len(inside) >= _FEWEST_TICKS:
            break
    return inside[:: max(1, len(inside) // (2 * most))]


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(base * power for base in (1, 2, 5, 10) if base * power >= raw * 0.999)


def label(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    """Text, escaped."""
    name = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def axis_name(middle: float, text: str) -> str:
    """Name of a vertical axis, along the left edge.

    Args:
        middle: Height of its middle.
        text: The name; escaped here.
    """
    return f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str = "axis") -> str:
    """A straight line."""
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def svg(width: float, height: float, title: str, body: str) -> str:
    """The element around a drawing.

    Args:
        width: In user units.
        height: The same.
        title: What it shows, for those who cannot see it.
        body: Its content.
    """
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'
