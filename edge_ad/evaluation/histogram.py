"""Histogram of image scores as an SVG drawing: good and defective parts, and the threshold between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["score_histogram"]

_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 20, 40, 44
_BINS = 40


def score_histogram(scores: NDArray[np.float64], labels: NDArray[np.bool_], threshold: float | None) -> str:
    """Draw the scores of good and defective images over one axis.

    Args:
        scores: (N,) raw scores, finite, N >= 1.
        labels: bool (N,), True is defective.
        threshold: Drawn as a line; None where there is none.

    Returns:
        An ``<svg>`` element whose colours come from the CSS classes ``good``, ``defective``, ``axis``, ``threshold``.
    """
    edges = _edges(scores, threshold)
    counts = {name: np.histogram(scores[rows], edges)[0] for name, rows in (("good", ~labels), ("defective", labels))}
    highest = int(max(count.max() for count in counts.values()))
    bars = "".join(_bars(name, count, highest) for name, count in counts.items())
    marker = "" if threshold is None else _marker(_x(threshold, edges), threshold)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Histogram of image scores">'
        f"{_axes(edges, highest)}{bars}{marker}</svg>"
    )


def _edges(scores: NDArray[np.float64], threshold: float | None) -> NDArray[np.float64]:
    shown = scores if threshold is None else np.append(scores, threshold)
    low, high = float(shown.min()), float(shown.max())
    if high <= low:  # all equal: one bar in the middle of an axis that is not empty
        reach = max(abs(low) * 0.1, 1e-3)
        low, high = low - reach, high + reach
    return np.linspace(low, high, _BINS + 1)


def _x(value: float, edges: NDArray[np.float64]) -> float:
    return float(_LEFT + (value - edges[0]) / (edges[-1] - edges[0]) * (_WIDTH - _LEFT - _RIGHT))


def _y(count: float, highest: int) -> float:
    return _HEIGHT - _BOTTOM - count / highest * (_HEIGHT - _TOP - _BOTTOM)


def _bars(name: str, counts: NDArray[np.int_], highest: int) -> str:
    width = (_WIDTH - _LEFT - _RIGHT) / _BINS
    base = _y(0, highest)
    return "".join(
        f'<rect class="{name}" x="{_LEFT + index * width + 0.5:.1f}" y="{_y(count, highest):.1f}" '
        f'width="{width - 1:.1f}" height="{base - _y(count, highest):.1f}"><title>{count} {name}</title></rect>'
        for index, count in enumerate(counts)
        if count
    )


def _axes(edges: NDArray[np.float64], highest: int) -> str:
    base = _y(0, highest)
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base:.1f}" y2="{base:.1f}"/>']
    for value in np.linspace(edges[0], edges[-1], 6):
        parts.append(_label(_x(float(value), edges), base + 18, f"{value:.3g}", "middle"))
    for count in sorted({0, highest // 2, highest}):
        parts.append(_label(_LEFT - 8, _y(count, highest) + 4, str(count), "end"))
    parts.append(_label((_LEFT + _WIDTH - _RIGHT) / 2, base + 38, "image score", "middle"))
    return "".join(parts)


def _marker(x: float, threshold: float) -> str:
    anchor = "end" if x > _WIDTH * 0.7 else "start"
    text = _label(x + (-6 if anchor == "end" else 6), _TOP - 18, f"threshold {threshold:.4g}", anchor)
    return f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 30}" y2="{_HEIGHT - _BOTTOM}"/>{text}'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
