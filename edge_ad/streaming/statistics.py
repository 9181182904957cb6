"""Statistics of a stream: frames, verdicts, frame rate, time of each stage, drops and gaps."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_ad.prediction import NOT_FINITE
from edge_ad.streaming.frame import Result
from edge_ad.streaming.losses import Gap, GapLog
from edge_ad.streaming.progress import SourceProgress
from edge_ad.streaming.sources.base import Source

__all__ = [
    "DurationHistogram",
    "FrameCounters",
    "FrameRate",
    "Percentiles",
    "StreamStatistics",
    "Summary",
    "total_unjudged",
]

_RECENT = 30
_SMALLEST_MS = 1e-3
_LARGEST_MS = 1e7
_BIN_WIDTH = math.log(1.01)  # a percentile is off by half a bin, 0.5 %, at most
_BINS = math.ceil(math.log(_LARGEST_MS / _SMALLEST_MS) / _BIN_WIDTH) + 1
_PERCENTILES_EVERY_S = 0.5  # reading one takes a pass over two thousand bins


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


class FrameCounters:
    """The counts of one source; the capture thread writes the first two, the delivering thread the others.

    Args:
        source: The source; it counts its own duplicates and corrupt frames.

    Attributes:
        captured: Frames read.
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
        """Frames in the pipeline; after the end, those that were given up."""
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


class DurationHistogram:
    """Counts durations in bins of equal ratio, from 1 µs to 3 hours.

    Values outside are counted in the first or last bin.

    Attributes:
        count: How many durations were added.
        total_ms: Their sum.
        max_ms: The longest, exact; 0 when there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0
        self._bins = [0] * _BINS

    def add(self, duration_ms: float) -> None:
        """Count one duration, in milliseconds."""
        self.count += 1
        self.total_ms += duration_ms
        self.max_ms = max(self.max_ms, duration_ms)
        clipped = min(max(duration_ms, _SMALLEST_MS), _LARGEST_MS)
        self._bins[int(math.log(clipped / _SMALLEST_MS) / _BIN_WIDTH)] += 1

    def percentile_ms(self, percent: float) -> float:
        """The nearest-rank percentile, accurate to 0.5 %.

        Args:
            percent: In [0, 100].

        Returns:
            Milliseconds; 0 when nothing was added.
        """
        rank, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for number, count in enumerate(self._bins):
            seen += count
            if seen >= rank:
                return min(_SMALLEST_MS * math.exp((number + 0.5) * _BIN_WIDTH), self.max_ms)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Mean, median, 95th and 99th percentile and the longest, in milliseconds."""
        mean_ms = self.total_ms / self.count if self.count else 0.0
        values = {"mean_ms": mean_ms, "max_ms": self.max_ms}
        values |= {f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 95, 99)}
        return {name: round(value, 4) for name, value in values.items()}


@dataclass(frozen=True)
class Summary:
    """A stream from its start to its end.

    Every frame that the sources gave is in exactly one of ``frames``, ``dropped``, ``unjudged`` and ``undelivered``.

    Attributes:
        source: Where the frames came from; several names are separated by commas.
        ended_by: ``"end of source"``, ``"max frames"``, ``"max seconds"``, ``"window closed"``, ``"stopped"``,
            ``"interrupted"`` (SIGINT) or ``"terminated"`` (SIGTERM or SIGHUP).
        seconds: Length of the stream, from start to end.
        frames: Frames judged and delivered.
        ok: Frames at or below the threshold.
        defective: Frames above it, or without a finite score and map.
        not_finite: Defective frames without a finite score and map.
        threshold: The raw score the verdicts were made with, at the end.
        fps: (frames - 1) / (time between the first and the last delivered frame).
        dropped: Frames that were replaced by a newer one before the engine was free.
        stages_ms: Stage → mean, percentiles and longest time in ms: ``capture`` (of a live source: the wait for
            a frame too), ``prepare``, ``infer``, ``deliver``, and ``age`` from capture to result.
        reconnects: How often live sources came back.
        gaps: How often they were gone.
        gap_seconds: For how long, together.
        newest_gaps: The newest hundred of them.
        duplicates: Frames that sources gave twice; judged once.
        unjudged: Reason → frames that were looked at but not judged.
        corrupt: Frames that could not be decoded.
        missed: Numbers that sources skipped.
        undelivered: Frames under way when a limit ended the stream; they were not delivered.
        sink_drops: Name of a sink that may lose results → how many it lost.
        recorded: Name of a sink that records every judged frame → how many it has stored; as many as ``frames``.
        trail: Name of a sink with a trail → its head at the end, ``NUMBER:HASH``; `edge-ad records verify` takes it.
        bundle: Content hash of the bundle that judged last; empty when there was none.
        swaps: How often another bundle took over.
        sources: One row for each source.
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
    duplicates: int = 0
    unjudged: Mapping[str, int] = field(default_factory=dict)
    corrupt: int = 0
    missed: int = 0
    undelivered: int = 0
    sink_drops: Mapping[str, int] = field(default_factory=dict)
    recorded: Mapping[str, int] = field(default_factory=dict)
    trail: Mapping[str, str] = field(default_factory=dict)
    bundle: str = ""
    swaps: int = 0
    not_finite: int = 0
    sources: tuple[SourceProgress, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Percentiles:
    """Latency (prepare and infer) and age (capture to result), in milliseconds."""

    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    age_p50_ms: float = 0.0
    age_p99_ms: float = 0.0


class StreamStatistics:
    """Collects results in bounded memory.

    Attributes:
        frames: Results so far.
        defective: How many were above the threshold, or not finite.
        not_finite: How many had no finite score and map.
        rate: Their frame rate.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.defective = 0
        self.not_finite = 0
        self.rate = FrameRate()
        self._stages = {name: DurationHistogram() for name in ("capture", "prepare", "infer", "deliver", "age")}
        self._latency = DurationHistogram()
        self._percentiles = Percentiles()
        self._percentiles_until = 0.0

    def update(self, result: Result, *, delivered_at: float, deliver_ms: float) -> None:
        """Count a delivered result.

        Args:
            result: What was delivered.
            delivered_at: Monotonic time in seconds.
            deliver_ms: Time it took to pass it to the sinks.
        """
        self.frames += 1
        self.defective += result.verdict.is_anomalous
        self.not_finite += result.verdict.reason == NOT_FINITE
        self.rate.add(delivered_at)
        self._stages["capture"].add(result.frame.capture_ms)
        self._stages["prepare"].add(result.prepare_ms)
        self._stages["infer"].add(result.infer_ms)
        self._stages["deliver"].add(deliver_ms)
        self._stages["age"].add(result.age_ms)
        self._latency.add(result.prepare_ms + result.infer_ms)

    def percentiles(self) -> Percentiles:
        """Of latency and age, at most half a second old."""
        now = time.perf_counter()
        if now >= self._percentiles_until:
            self._percentiles_until = now + _PERCENTILES_EVERY_S
            latency, age = self._latency, self._stages["age"]
            self._percentiles = Percentiles(
                *(round(times.percentile_ms(percent), 3) for times in (latency, age) for percent in (50, 99))
            )
        return self._percentiles

    def summary(
        self,
        *,
        source: str,
        ended_by: str,
        seconds: float,
        threshold: float,
        counters: Sequence[FrameCounters],
        gaps: Sequence[GapLog],
        sink_drops: Mapping[str, int] | None = None,
        recorded: Mapping[str, int] | None = None,
        trail: Mapping[str, str] | None = None,
        bundle: str = "",
        swaps: int = 0,
    ) -> Summary:
        """Everything so far; the arguments are the `Summary` fields of the same name, or what they are summed from."""
        sources = tuple(counter.progress() for counter in counters)
        newest = sorted((gap for log in gaps for gap in log.newest), key=lambda gap: gap.start)
        return Summary(
            source=source,
            ended_by=ended_by,
            seconds=round(seconds, 3),
            frames=self.frames,
            ok=self.frames - self.defective,
            defective=self.defective,
            threshold=threshold,
            fps=round(self.rate.fps, 3),
            dropped=sum(row.dropped for row in sources),
            stages_ms={name: histogram.summary() for name, histogram in self._stages.items()},
            reconnects=sum(log.reconnects for log in gaps),
            gaps=sum(log.count for log in gaps),
            gap_seconds=round(sum(log.total_seconds for log in gaps), 3),
            newest_gaps=tuple(newest[-100:]),
            duplicates=sum(row.duplicates for row in sources),
            unjudged=total_unjudged(sources),
            corrupt=sum(row.corrupt for row in sources),
            missed=sum(row.missed for row in sources),
            undelivered=sum(counter.undelivered for counter in counters),
            sink_drops=dict(sink_drops or {}),
            recorded=dict(recorded or {}),
            trail=dict(trail or {}),
            bundle=bundle,
            swaps=swaps,
            not_finite=self.not_finite,
            sources=sources,
        )


def total_unjudged(sources: Sequence[SourceProgress]) -> dict[str, int]:
    """Reason → frames, over all sources."""
    reasons = sorted({reason for row in sources for reason in row.unjudged})
    return {reason: sum(row.unjudged.get(reason, 0) for row in sources) for reason in reasons}
