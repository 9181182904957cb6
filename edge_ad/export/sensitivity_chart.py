"""Bars of the noise that each layer adds to the anomaly map, as an SVG drawing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

from edge_ad.calibration.sensitivity import LayerSensitivity

__all__ = ["sensitivity_chart"]

_WIDTH, _ROW = 1052, 19
_LEFT, _RIGHT, _TOP = 330, 150, 30
_FLOOR_DB, _CEILING_DB = 0.0, 60.0  # below 0 dB a layer alone drowns the map, above 60 it cannot be seen
_GRID_DB = range(0, 61, 10)


def sensitivity_chart(items: Sequence[LayerSensitivity], returned: Collection[str]) -> str:
    """Draw one bar per layer, longer for more noise, on a decibel axis from 60 dB (none) to 0 dB (as much as the map).

    Args:
        items: The layers, in the order to draw.
        returned: Layers that went back to float; their bars have the class ``defective``, the others ``good``.

    Returns:
        An ``<svg>`` element whose colours come from the CSS classes ``good``, ``defective`` and ``axis``.
    """
    height = _TOP + _ROW * len(items) + 8
    grid = "".join(_grid_line(level, height) for level in _GRID_DB)
    bars = "".join(_bar(index, item, item.layer in returned) for index, item in enumerate(items))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Noise at the anomaly map by layer">'
        f"{grid}{bars}</svg>"
    )


def _x(sqnr_db: float) -> float:
    inside = min(max(sqnr_db, _FLOOR_DB), _CEILING_DB)
    return _LEFT + (_CEILING_DB - inside) / (_CEILING_DB - _FLOOR_DB) * (_WIDTH - _LEFT - _RIGHT)


def _grid_line(level: int, height: int) -> str:
    x = _x(level)
    return (
        f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{height}"/>'
        f'<text x="{x:.1f}" y="{_TOP - 12}" text-anchor="middle">{level} dB</text>'
    )


def _bar(index: int, item: LayerSensitivity, is_returned: bool) -> str:
    y, end = _TOP + _ROW * index, _x(item.sqnr_db)
    figures = f"{item.sqnr_db:.1f} dB, {item.score_drift:.3f} σ"
    return (
        f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(_short(item.layer))}</text>'
        f'<rect class="{"defective" if is_returned else "good"}" x="{_LEFT}" y="{y + 2}" '
        f'width="{max(end - _LEFT, 1.5):.1f}" height="{_ROW - 5}"><title>{escape(item.layer)}: {figures}</title></rect>'
        f'<text x="{max(end, _LEFT + 2) + 6:.1f}" y="{y + 13}">{figures}</text>'
    )


def _short(layer: str) -> str:
    return layer if len(layer) <= 44 else f"…{layer[-43:]}"
