"""A cost against a size, on two logarithmic axes, with the power law through it."""

from __future__ import annotations

import math
from html import escape

from benchmarks.report.rows import ScalingRow
from benchmarks.report.svg import Scale, axis_name, label, line, svg, ticks

__all__ = ["scaling_chart"]

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 22, 18, 50


def scaling_chart(row: ScalingRow) -> str:
    """Draw the points and the fitted line.

    Args:
        row: With at least two points.
    """
    sizes, costs = zip(*row.points, strict=True)
    x = Scale.around(sizes, _LEFT, _WIDTH - _RIGHT, is_log=True)
    reach = max(
        1.0, math.sqrt(2 * min(costs) / max(costs))
    )  # at least a factor of two: noise is not to look like growth
    y = Scale.around([min(costs) / reach, max(costs) * reach], _HEIGHT - _BOTTOM, _TOP, is_log=True, margin=0.15)
    base = _HEIGHT - _BOTTOM
    parts = [
        line(_LEFT, y(value), _WIDTH - _RIGHT, y(value)) + label(_LEFT - 8, y(value) + 4, f"{value:g}", "end")
        for value in ticks(y)
    ]
    parts += [label(x(value), base + 18, f"{value:g}", "middle") for value in sorted(set(sizes))]
    parts.append(label((_LEFT + _WIDTH - _RIGHT) / 2, base + 40, row.quantity, "middle"))
    parts.append(axis_name((_TOP + base) / 2, row.cost))
    parts.append(_fit(row, x, y))
    for size, cost in row.points:
        words = escape(f"{row.quantity} {size:g}: {cost:.4g}")
        parts.append(f'<circle class="s1" cx="{x(size):.1f}" cy="{y(cost):.1f}" r="5"><title>{words}</title></circle>')
    return svg(_WIDTH, _HEIGHT, f"{row.cost} against {row.quantity}", "".join(parts))


def _fit(row: ScalingRow, x: Scale, y: Scale) -> str:
    logs = [(math.log(size), math.log(cost)) for size, cost in row.points]
    middle_x, middle_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    ends = [min(size for size, _ in row.points), max(size for size, _ in row.points)]
    costs = [math.exp(middle_y + row.exponent * (math.log(size) - middle_x)) for size in ends]
    return line(x(ends[0]), y(costs[0]), x(ends[1]), y(costs[1]), "front")
