"""Times of the stages of an inference on the GPU, measured by CUDA events."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass

__all__ = ["DeviceTimings", "StageTimes", "TimingLog"]

_KEPT_RUNS = 10_000


@dataclass(frozen=True)
class StageTimes:
    """Time of one inference on the GPU.

    Attributes:
        h2d_ms: Copying the frames to the device, in milliseconds.
        compute_ms: Running the plan, in milliseconds.
        d2h_ms: Copying scores and maps back, in milliseconds.
    """

    h2d_ms: float
    compute_ms: float
    d2h_ms: float


@dataclass(frozen=True)
class DeviceTimings(StageTimes):
    """Medians over the last inferences; in a stream the three stages of different frames overlap.

    Attributes:
        runs: Number of inferences.
        uses_cuda_graph: Whether the last one was launched as a CUDA graph.
    """

    runs: int
    uses_cuda_graph: bool

    def to_dict(self) -> dict[str, float | int | bool]:
        """Field → value."""
        return asdict(self)


class TimingLog:
    """The times of the last 10 000 inferences."""

    def __init__(self) -> None:
        self._runs: deque[StageTimes] = deque(maxlen=_KEPT_RUNS)

    def add(self, times: StageTimes) -> None:
        """Keep the times of one inference."""
        self._runs.append(times)

    def clear(self) -> None:
        """Discard all of them, such as those of the warm-up."""
        self._runs.clear()

    def summary(self, *, uses_cuda_graph: bool) -> DeviceTimings | None:
        """The medians; None before the first inference.

        Args:
            uses_cuda_graph: Whether the last one was launched as a CUDA graph.
        """
        runs = list(self._runs)
        if not runs:
            return None
        h2d, compute, d2h = zip(*((run.h2d_ms, run.compute_ms, run.d2h_ms) for run in runs), strict=True)
        return DeviceTimings(_median(h2d), _median(compute), _median(d2h), len(runs), uses_cuda_graph)


def _median(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
