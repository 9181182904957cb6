"""What a stream did: frames, verdicts, frame rate, time of each stage, drops and gaps."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from edge_ad.streaming.frame import Result
from edge_ad.streaming.gaps import Gap, GapLog
from edge_ad.streaming.histogram import DurationHistogram

__all__ = ["FrameRate", "StreamStatistics", "Summary"]

_RECENT = 30


class FrameRate:
    """Frames per second from the intervals between frames: n frames have n - 1 intervals."""

    def __init__(self) -> None:
        self._count = 0
        self._first_at = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT + 1)

    def add(self, at: float) -> None:
        """Count a frame delivered at a monotonic time, in seconds."""
        if self._count == 0:
            self._first_at = at
        self._count += 1
        self._recent.append(at)

    @property
    def fps(self) -> float:
        """Over the whole stream; 0 before the second frame."""
        return _rate(self._count, self._first_at, self._recent[-1]) if self._recent else 0.0

    @property
    def recent_fps(self) -> float:
        """Over the newest thirty intervals; 0 before the second frame."""
        return _rate(len(self._recent), self._recent[0], self._recent[-1]) if self._recent else 0.0


def _rate(frames: int, first_at: float, last_at: float) -> float:
    return (frames - 1) / (last_at - first_at) if last_at > first_at else 0.0


@dataclass(frozen=True)
class Summary:
    """A stream from its start to its end.

    Attributes:
        source: Where the frames came from.
        ended_by: ``"end of source"``, ``"max frames"``, ``"max seconds"``, ``"window closed"``, ``"interrupted"``
            (SIGINT) or ``"terminated"`` (SIGTERM).
        seconds: Length of the stream, from start to end.
        frames: Frames judged and delivered.
        ok: Frames at or below the threshold.
        defective: Frames above it.
        threshold: The raw score the verdicts were made with.
        fps: (frames - 1) / (time between the first and the last delivered frame).
        dropped: Frames of a live source that were replaced by a newer one before the engine was free.
        stages_ms: Stage → mean, percentiles and longest time in ms: ``capture`` (of a live source: the wait for
            a frame too), ``prepare``, ``infer``, ``deliver``, and ``age`` from capture to result.
        reconnects: How often a live source came back.
        gaps: How often it was gone.
        gap_seconds: For how long, together.
        newest_gaps: The newest hundred of them.
    """

    source: str
    ended_by: str
    seconds: float
    frames: int
    ok: int
    defective: int
    threshold: float
    fps: float
    dropped: int
    stages_ms: dict[str, dict[str, float]]
    reconnects: int
    gaps: int
    gap_seconds: float
    newest_gaps: tuple[Gap, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


class StreamStatistics:
    """Collects results in memory that does not grow with their number.

    Attributes:
        frames: Results so far.
        defective: How many were above the threshold.
        rate: Their frame rate.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.defective = 0
        self.rate = FrameRate()
        self._stages = {name: DurationHistogram() for name in ("capture", "prepare", "infer", "deliver", "age")}

    def update(self, result: Result, *, delivered_at: float, deliver_ms: float) -> None:
        """Count a delivered result.

        Args:
            result: What was delivered.
            delivered_at: Monotonic time in seconds.
            deliver_ms: Time spent in overlay and sinks.
        """
        self.frames += 1
        self.defective += result.verdict.is_anomalous
        self.rate.add(delivered_at)
        self._stages["capture"].add(result.frame.capture_ms)
        self._stages["prepare"].add(result.prepare_ms)
        self._stages["infer"].add(result.infer_ms)
        self._stages["deliver"].add(deliver_ms)
        self._stages["age"].add(result.age_ms)

    def summary(
        self, *, source: str, ended_by: str, seconds: float, threshold: float, dropped: int, gaps: GapLog
    ) -> Summary:
        """Everything so far; the arguments are the `Summary` fields of the same name."""
        return Summary(
            source=source,
            ended_by=ended_by,
            seconds=round(seconds, 3),
            frames=self.frames,
            ok=self.frames - self.defective,
            defective=self.defective,
            threshold=threshold,
            fps=round(self.rate.fps, 3),
            dropped=dropped,
            stages_ms={name: histogram.summary() for name, histogram in self._stages.items()},
            reconnects=gaps.reconnects,
            gaps=gaps.count,
            gap_seconds=round(gaps.total_seconds, 3),
            newest_gaps=tuple(gaps.newest),
        )
