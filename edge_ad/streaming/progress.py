"""How a running stream gets on: counts of its frames, of each source, and its times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FrameCounts", "Progress", "SourceProgress"]


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames of a stream or of one source so far. A frame is in one count at most.

    Attributes:
        frames: Frames judged and delivered.
        defective: How many of them were above the threshold.
        fps: Of delivered frames, over the newest thirty intervals.
        dropped: Frames that a newer one replaced, or that were under way when the stream ended.
        reconnects: How often a live source came back.
        duplicates: Frames that a source gave twice; judged once.
        unjudged: Reason → frames that were looked at but not judged.
        corrupt: Frames that could not be decoded.
    """

    frames: int = 0
    defective: int = 0
    fps: float = 0.0
    dropped: int = 0
    reconnects: int = 0
    duplicates: int = 0
    unjudged: Mapping[str, int] = field(default_factory=dict)
    corrupt: int = 0


@dataclass(frozen=True)
class SourceProgress(FrameCounts):
    """One source of a running stream.

    Attributes:
        name: What it is.
        missed: Numbers the source itself skipped.
    """

    name: str = field(kw_only=True)
    missed: int = 0


@dataclass(frozen=True)
class Progress(FrameCounts):
    """Where a running stream is; the counts are those of all sources together.

    Attributes:
        seconds: Since the start.
        latency_p50_ms: Median of prepare and infer together.
        latency_p99_ms: 99th percentile of the same.
        age_p50_ms: Median time from capture to result.
        age_p99_ms: 99th percentile of the same.
        sink_drops: Name of a lossy sink → results it was too slow for.
        stalled_s: Seconds since the engine last gave a result while it holds frames, or since the stream last moved on
            where that is longer; 0 before it runs.
        is_ending: Whether the stream has begun to end.
        sources: One row for each source.
    """

    seconds: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    age_p50_ms: float = 0.0
    age_p99_ms: float = 0.0
    sink_drops: Mapping[str, int] = field(default_factory=dict)
    stalled_s: float = 0.0
    is_ending: bool = False
    sources: tuple[SourceProgress, ...] = ()
