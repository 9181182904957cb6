"""The trend of recorded scores: in the terminal, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from edge_ad.cli.console import local_time, print_table
from edge_ad.evaluation.canvas import Canvas, Colour, fitted, text_width
from edge_ad.evaluation.tiles import INK, MUTED, PAPER
from edge_ad.storage import write_file
from edge_ad.streaming.records.reader import Bucket, RecordFilter, RecordReader

__all__ = ["draw_trend", "print_trend"]

_BINS = 240
_GOOD: Colour = (180, 130, 59)
_BAND: Colour = (238, 220, 200)
_NG: Colour = (61, 69, 214)
_GRID: Colour = (230, 226, 220)
_SIZE_HW = (760, 1280)
_LEFT, _RIGHT = 84, 1248
_SCORES = (96, 500)  # top and bottom of the plot, in pixels
_RATES = (580, 700)
_TEXT = 15
_HOURS_SHOWN = 48
_MOST = 1e300  # what is larger has no place on an axis: the difference of two such numbers is no number
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class _Axis:
    """A linear scale from numbers to pixels."""

    low: float
    high: float
    start: int
    end: int

    def __call__(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start))


def print_trend(hours: Sequence[Bucket]) -> None:
    """Print the newest 48 hours that have records, one line each."""
    shown = hours[-_HOURS_SHOWN:]
    top = max((max(bucket.highest or 0.0, bucket.threshold or 0.0) for bucket in shown), default=1.0)
    rows = [
        [
            local_time(bucket.start_unix, "minutes"),
            bucket.frames,
            bucket.defective,
            f"{bucket.ng_rate:.2%}",
            bucket.mean,
            bucket.highest,
            bucket.threshold,
            _bar(bucket.mean, top),
        ]
        for bucket in shown
    ]
    print_table(["hour", "frames", "NG", "NG rate", "score mean", "score max", "threshold", "mean"], rows)


def draw_trend(
    reader: RecordReader,
    chosen: RecordFilter,
    span: tuple[float, float],
    hours: Sequence[Bucket],
    path: Path,
    *,
    title: str,
) -> None:
    """Draw scores with their threshold above, and the share of NG frames of each hour below.

    Args:
        reader: The records.
        chosen: Which of them.
        span: Time of the first and the last one.
        hours: Them by hour.
        path: The PNG.
        title: Written at the top.

    Raises:
        StorageError: The file cannot be written.
    """
    width_s = max((span[1] - span[0]) / _BINS, 1e-3)
    good = [] if chosen.verdict == "NG" else reader.buckets(replace(chosen, verdict="OK"), width_s, origin_unix=span[0])
    bad = [] if chosen.verdict == "OK" else reader.buckets(replace(chosen, verdict="NG"), width_s, origin_unix=span[0])
    canvas = Canvas(*_SIZE_HW, PAPER)
    frames, defective = sum(hour.frames for hour in hours), sum(hour.defective for hour in hours)
    canvas.text(fitted(title, 700, 24, bold=True), (_LEFT, 42), 24, INK, bold=True)
    when = f"{local_time(span[0], 'minutes')} to {local_time(span[1], 'minutes')}"
    canvas.text(f"{frames} frames, {defective} NG ({defective / frames:.2%}); {when}", (_LEFT, 70), _TEXT, MUTED)
    time = _Axis(span[0], max(span[1], span[0] + 1e-3), _LEFT, _RIGHT)
    _draw_scores(canvas, time, good, bad, width_s)
    _draw_rates(canvas, time, hours)
    _draw_times(canvas, time)
    write_file(path, cv2.imencode(".png", canvas.pixels)[1].tobytes())


def _draw_scores(canvas: Canvas, time: _Axis, good: Sequence[Bucket], bad: Sequence[Bucket], width_s: float) -> None:
    both = [*good, *bad]
    values = [value for bucket in both for value in (bucket.lowest, bucket.highest, bucket.threshold)]
    known = [value for value in values if value is not None and abs(value) < _MOST] or [0.0, 1.0]
    pad = 0.05 * (max(known) - min(known)) or 0.5
    scale = _Axis(min(known) - pad, max(known) + pad, _SCORES[1], _SCORES[0])
    for tick in _ticks(scale.low, scale.high):
        _grid_line(canvas, scale(tick), f"{tick:.4g}")
    column = max(1, math.ceil((_RIGHT - _LEFT) / _BINS))
    for bucket in good:
        if bucket.lowest is not None and bucket.highest is not None:
            top, bottom = scale(bucket.highest), scale(bucket.lowest)
            canvas.box((min(time(bucket.start_unix), _RIGHT - column), top), (max(1, bottom - top), column), _BAND)
    middle = [(time(bucket.start_unix + width_s / 2), bucket) for bucket in good]
    _line(canvas, [(x, scale(bucket.mean)) for x, bucket in middle if bucket.mean is not None], _GOOD, 2)
    limits = [(time(bucket.start_unix), bucket.threshold) for bucket in sorted(both, key=lambda one: one.start_unix)]
    _dashes(canvas, [(x, scale(limit)) for x, limit in limits if limit is not None])
    for bucket in bad:
        if bucket.highest is not None:
            centre = (time(bucket.start_unix + width_s / 2), scale(bucket.highest))
            cv2.circle(canvas.pixels, centre, 4, _NG, cv2.FILLED, cv2.LINE_AA)
    _legend(canvas)


def _draw_rates(canvas: Canvas, time: _Axis, hours: Sequence[Bucket]) -> None:
    most = max((hour.ng_rate for hour in hours), default=0.0) or 0.01
    scale = _Axis(0.0, most, _RATES[1], _RATES[0])
    canvas.text("NG frames per hour", (_LEFT, _RATES[0] - 16), _TEXT, INK, bold=True)
    for tick in (0.0, most / 2, most):
        _grid_line(canvas, scale(tick), f"{tick:.2%}")
    for hour in hours:
        left, right = time(hour.start_unix), time(hour.start_unix + 3600.0)
        top = scale(hour.ng_rate)
        canvas.box((left + 1, top), (_RATES[1] - top, max(2, right - left - 2)), _NG)


def _draw_times(canvas: Canvas, time: _Axis) -> None:
    pattern = "%H:%M:%S" if time.high - time.low < 600 else "%H:%M" if time.high - time.low < 86400 else "%m-%d %H:%M"
    for number in range(7):
        moment = time.low + number / 6 * (time.high - time.low)
        text = _clock(moment, pattern)
        x = time(moment) - text_width(text, _TEXT) // 2
        canvas.text(text, (min(max(x, _LEFT), _RIGHT - text_width(text, _TEXT)), _RATES[1] + 26), _TEXT, MUTED)


def _legend(canvas: Canvas) -> None:
    x, y = _RIGHT - 420, 70
    for text, colour in (("OK: mean, and lowest to highest", _GOOD), ("NG", _NG), ("threshold", INK)):
        canvas.box((x, y - 9), (8, 14), colour)
        canvas.text(text, (x + 20, y), _TEXT, MUTED)
        x += 44 + text_width(text, _TEXT)


def _grid_line(canvas: Canvas, y: int, text: str) -> None:
    canvas.box((_LEFT, y), (1, _RIGHT - _LEFT), _GRID)
    canvas.text(text, (_LEFT - 10 - text_width(text, _TEXT), y + 5), _TEXT, MUTED)


def _line(canvas: Canvas, points: Sequence[tuple[int, int]], colour: Colour, width: int) -> None:
    if points:
        cv2.polylines(canvas.pixels, [np.array(points, np.int32)], False, colour, width, cv2.LINE_AA)


def _dashes(canvas: Canvas, points: Sequence[tuple[int, int]]) -> None:
    """A dashed line through the points, in steps: a threshold holds until it is changed."""
    for (x, y), (next_x, _) in zip(points, [*points[1:], (_RIGHT, 0)], strict=True):
        for left in range(x - x % 10, max(next_x, x + 1), 10):
            canvas.box((max(left, _LEFT), y), (2, 6), INK)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, about six of them."""
    rough = (high - low) / 6
    if not rough > 0:
        return [low]
    step = 10 ** math.floor(math.log10(rough))
    step *= next(factor for factor in (1, 2, 5, 10) if factor * step >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _bar(value: float | None, top: float) -> str:
    if value is None or not top > 0 or not math.isfinite(value):
        return ""
    eighths = round(min(max(value / top, 0.0), 1.0) * 20 * 8)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _clock(at_unix: float, pattern: str) -> str:
    """Local time, as the people at the line have it."""
    return datetime.fromtimestamp(at_unix).astimezone().strftime(pattern)
