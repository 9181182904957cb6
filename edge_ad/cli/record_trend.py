"""The trend of recorded scores in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.cli.console import local_time, note, print_json, print_table
from edge_ad.cli.production_records import of_production
from edge_ad.cli.record_times import local_iso
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.streaming.records.reader import Bucket, RecordFilter, RecordReader

__all__ = ["show_trend"]

_HOUR_S = 3600.0
_HOURS_SHOWN = 48
_BLOCKS = " ▁▂▃▄▅▆▇█"


def show_trend(reader: RecordReader, chosen: RecordFilter, *, out: Path | None, as_json: bool, title: str) -> None:
    """Print scores and share of NG frames of each hour, or draw them; master parts are left out.

    Args:
        reader: The records.
        chosen: Which of them.
        out: The picture; None to print.
        as_json: Whether to print JSON.
        title: Of the picture.

    Raises:
        UsageError: The picture is no PNG.
    """
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"{out.name} is not a picture file.", "Give a file that ends in .png.")
    chosen = of_production(reader, chosen)
    span = reader.span(chosen)
    hours = reader.buckets(chosen, _HOUR_S)
    if as_json:
        print_json({"hours": [_hour(bucket) for bucket in hours]})
    if span is None:
        if not as_json:
            note("No records match.")
        return
    if out is not None:
        from edge_ad.streaming.records.trend_chart import draw_trend

        draw_trend(reader, chosen, span, hours, out, title=title)
        note(f"Trend: {out}")
    elif not as_json:
        _print_trend(hours)


def _print_trend(hours: Sequence[Bucket]) -> None:
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


def _bar(value: float | None, top: float) -> str:
    if value is None or not top > 0 or not math.isfinite(value):
        return ""
    eighths = round(min(max(value / top, 0.0), 1.0) * 20 * 8)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _hour(bucket: Bucket) -> dict[str, object]:
    return {
        "start": local_iso(bucket.start_unix),
        "frames": bucket.frames,
        "ng": bucket.defective,
        "ng_rate": bucket.ng_rate,
        "score_mean": bucket.mean,
        "score_max": bucket.highest,
        "threshold": bucket.threshold,
    }
