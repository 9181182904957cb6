"""Where a running stream is, in numbers that are cheap to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Progress", "SourceProgress"]


@dataclass(frozen=True)
class SourceProgress:
    """One source of a running stream. A frame of it is in exactly one of the counts.

    Attributes:
        name: What it is.
        frames: Frames judged and delivered.
        defective: How many of them were above the threshold.
        fps: Of delivered frames, over the newest thirty intervals.
        dropped: Frames that a newer one replaced, or that were under way when the stream ended.
        duplicates: Frames the source gave twice; judged once.
        unjudged: Reason → frames that were looked at but not judged.
        corrupt: Frames that could not be decoded.
        missed: Numbers the source itself skipped.
        reconnects: How often it came back.
    """

    name: str
    frames: int = 0
    defective: int = 0
    fps: float = 0.0
    dropped: int = 0
    duplicates: int = 0
    unjudged: Mapping[str, int] = field(default_factory=dict)
    corrupt: int = 0
    missed: int = 0
    reconnects: int = 0


@dataclass(frozen=True)
class Progress:
    """Where a running stream is.

    Attributes:
        frames: Frames delivered.
        defective: How many of them were above the threshold.
        fps: Over the newest thirty intervals.
        dropped: Frames that were captured and not judged, because a newer one came.
        reconnects: How often live sources came back.
        seconds: Since the start.
        duplicates: Frames that sources gave twice; judged once.
        unjudged: Reason → frames that were looked at but not judged.
        corrupt: Frames that could not be decoded.
        latency_p50_ms: Median of prepare and infer together.
        latency_p99_ms: 99th percentile of the same.
        age_p50_ms: Median time from capture to result.
        age_p99_ms: 99th percentile of the same.
        sink_drops: Name of a lossy sink → results it had no time for.
        sources: One row for each source.
    """

    frames: int = 0
    defective: int = 0
    fps: float = 0.0
    dropped: int = 0
    reconnects: int = 0
    seconds: float = 0.0
    duplicates: int = 0
    unjudged: Mapping[str, int] = field(default_factory=dict)
    corrupt: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    age_p50_ms: float = 0.0
    age_p99_ms: float = 0.0
    sink_drops: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[SourceProgress, ...] = ()
