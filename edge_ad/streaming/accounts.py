"""Where every frame of a source went: each is in exactly one of the counts."""

from __future__ import annotations

from collections import Counter

from edge_ad.streaming.frame import Result
from edge_ad.streaming.progress import SourceProgress
from edge_ad.streaming.rate import FrameRate
from edge_ad.streaming.sources.base import Source

__all__ = ["SourceAccount"]


class SourceAccount:
    """The counts of one source; the capture thread writes the first two, the delivering thread the others.

    Args:
        source: The source; it counts its own duplicates and corrupt frames.

    Attributes:
        captured: Frames it gave.
        unjudged: Reason → frames that were looked at but not judged.
        dropped: Frames that were replaced by a newer one.
        frames: Results delivered.
        defective: How many of them were above the threshold.
        rate: Their frame rate.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.captured = 0
        self.unjudged: Counter[str] = Counter()
        self.dropped = 0
        self.frames = 0
        self.defective = 0
        self.rate = FrameRate()

    def add(self, result: Result, delivered_at: float) -> None:
        """Count a delivered result, at a monotonic time in seconds."""
        self.frames += 1
        self.defective += result.verdict.is_anomalous
        self.rate.add(delivered_at)

    @property
    def undelivered(self) -> int:
        """Frames that are captured and under way; after the end, those that were given up with it."""
        return self.captured - self.frames - self.dropped - sum(self.unjudged.values())

    def progress(self) -> SourceProgress:
        """The counts as they are now."""
        return SourceProgress(
            name=self._source.name,
            frames=self.frames,
            defective=self.defective,
            fps=self.rate.recent_fps,
            dropped=self.dropped,
            duplicates=self._source.duplicates,
            unjudged=dict(self.unjudged),
            corrupt=self._source.corrupt,
            missed=self._source.missed,
            reconnects=self._source.gaps.reconnects,
        )
