"""The trend of recorded scores as a picture, drawn by matplotlib."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import require
from edge_ad.outside_text import storable
from edge_ad.storage import write_file
from edge_ad.streaming.records.reader import Bucket, RecordFilter, RecordReader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_trend"]

_BINS = 240
_GAP_STEPS = 4.0  # usual distances of two points; what is longer is a gap
_HOUR_S = 3600.0
_GOOD, _NG, _INK = "#3b82b4", "#d6453d", "#1a2028"
_SIZE_IN, _DPI = (12.8, 7.6), 100
_MOST = 1e300  # larger values cannot be drawn: the difference of two of them may overflow
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 11,
    "grid.color": "#e6e2dc",
    "text.parse_math": False,  # a name may hold a dollar sign
}


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
        hours: The records by hour.
        path: The PNG.
        title: Title of the chart.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        StorageError: The file cannot be written.
    """
    width_s = max((span[1] - span[0]) / _BINS, 1e-3)
    good = [] if chosen.verdict == "NG" else reader.buckets(replace(chosen, verdict="OK"), width_s, origin_unix=span[0])
    bad = [] if chosen.verdict == "OK" else reader.buckets(replace(chosen, verdict="NG"), width_s, origin_unix=span[0])
    frames, defective = sum(hour.frames for hour in hours), sum(hour.defective for hour in hours)
    when = " to ".join(_local(moment).isoformat(" ", "minutes") for moment in span)
    subtitle = f"{frames} frames, {defective} NG ({defective / frames:.2%}); {when}"
    with require("matplotlib", extra="charts").rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it is drawn as a box
        figure: Figure = require("matplotlib.figure", extra="charts").Figure(_SIZE_IN, _DPI, layout="constrained")
        scores, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        figure.suptitle(f"{storable(title)}\n{subtitle}", x=0.01, ha="left", fontsize=13)
        _draw_scores(scores, good, bad, width_s)
        starts, shares = [hour.start_unix for hour in hours], [hour.ng_rate for hour in hours]
        rates.bar(starts, shares, 0.96 * _HOUR_S, align="edge", color=_NG)
        rates.set_ylabel("NG frames per hour")
        rates.yaxis.set_major_formatter(lambda share, _: f"{share:.2%}")
        rates.set_ylim(0, max((hour.ng_rate for hour in hours), default=0.0) or 0.01)
        _set_times(rates, span)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_file(path, buffer.getvalue())


def _draw_scores(axes: Axes, good: Sequence[Bucket], bad: Sequence[Bucket], width_s: float) -> None:
    both = sorted([*good, *bad], key=lambda bucket: bucket.start_unix)
    values = [value for bucket in both for value in (bucket.lowest, bucket.highest, bucket.threshold)]
    known = [value for value in values if value is not None and abs(value) < _MOST] or [0.0, 1.0]
    pad = 0.05 * (max(known) - min(known)) or 0.5
    low, high = min(known) - pad, max(known) + pad

    def column(buckets: Sequence[Bucket], name: str) -> Any:
        """Values inside the chart; NaN where there is none."""
        found = [getattr(bucket, name) for bucket in buckets]
        return np.clip(np.array([np.nan if value is None else value for value in found], np.float64), low, high)

    middle = [bucket.start_unix + width_s / 2 for bucket in good]
    lowest, highest = column(good, "lowest"), column(good, "highest")
    axes.bar(middle, highest - lowest, width_s, lowest, color=_GOOD, alpha=0.3, label="OK: lowest to highest")
    axes.plot(*_with_gaps(middle, column(good, "mean"), width_s), ".-", color=_GOOD, markersize=3, label="OK: mean")
    ng = [bucket.start_unix + width_s / 2 for bucket in bad]
    dots = axes.plot(ng, column(bad, "highest"), "o", color=_NG, markersize=5, label="NG: highest", clip_on=False)
    dots[0].set_in_layout(False)  # without a point its extent would squeeze the charts
    starts = [bucket.start_unix for bucket in both]
    if starts:  # a threshold holds until it is changed
        steps = column(both, "threshold")
        axes.step(
            [*starts, starts[-1] + width_s], [*steps, steps[-1]], "--", color=_INK, where="post", label="threshold"
        )
    axes.set_ylim(low, high)
    axes.set_ylabel("score")


def _with_gaps(
    moments: Sequence[float], values: NDArray[np.float64], width_s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A curve that is broken where nothing was recorded for much longer than is usual for it.

    Args:
        moments: (N,) times, ascending.
        values: (N,).
        width_s: Shortest distance of two times.

    Returns:
        Times and values with NaN as the value inside each gap.
    """
    steps = np.diff(moments)
    if not steps.size:
        return np.asarray(moments, np.float64), values
    gaps = np.flatnonzero(steps > max(_GAP_STEPS * float(np.median(steps)), 1.5 * width_s))
    inside = np.asarray(moments)[gaps] + steps[gaps] / 2
    return np.insert(np.asarray(moments, np.float64), gaps + 1, inside), np.insert(values, gaps + 1, np.nan)


def _set_times(axes: Axes, span: tuple[float, float]) -> None:
    seconds = max(span[1] - span[0], 1e-3)
    pattern = "%H:%M:%S" if seconds < 600 else "%H:%M" if seconds < 86400 else "%m-%d %H:%M"
    axes.set_xlim(span[0], span[0] + seconds)
    axes.set_xticks(np.linspace(span[0], span[0] + seconds, 7))
    axes.xaxis.set_major_formatter(lambda moment, _: _local(moment).strftime(pattern))
    axes.set_xlabel(f"local time, {' and '.join(dict.fromkeys(_zone(moment) for moment in span))}")


def _zone(at_unix: float) -> str:
    """The time zone of a moment here, such as ``CET (UTC+01:00)``."""
    moment = _local(at_unix)
    return f"{moment.tzname()} (UTC{moment.isoformat()[-6:]})"


def _local(at_unix: float) -> datetime:
    """Local time."""
    return datetime.fromtimestamp(at_unix).astimezone()
