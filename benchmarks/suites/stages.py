"""One frame with a clock at every step: capture, decode, prepare, compute, finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import resize
from edge_ad.prediction import Prediction, Verdict

__all__ = ["STAGES", "FramePath", "StageLog"]

STAGES = ("capture", "decode", "prepare", "h2d", "compute", "d2h", "finish")
"""Every stage that a frame can pass; ``h2d`` and ``d2h`` are the copies to and from a device."""

_TIMED = ("capture", "decode", "prepare", "compute", "finish")

Infer = Callable[[NDArray[np.uint8]], list[Prediction]]


@dataclass
class StageLog:
    """Nanoseconds between the clocks of each run, one row of marks per run."""

    marks: list[tuple[int, ...]] = field(default_factory=list)

    def durations_ns(self, stage: str) -> list[int]:
        """Duration of a timed stage in every run."""
        index = _TIMED.index(stage)
        return [marks[index + 1] - marks[index] for marks in self.marks]

    def totals_ns(self, start: int = 0) -> list[int]:
        """First clock to last in every run, from run ``start`` on."""
        return [marks[-1] - marks[0] for marks in self.marks[start:]]


class FramePath:
    """What happens to a frame, from its source to its verdict.

    Capture is the reading of a photo's file into memory, which stands for a camera's transfer. Frames without files
    (a bundle's reference photos) are in memory and have neither capture nor decode.

    Args:
        infer: uint8 (N, H, W, 3) of the input size → predictions.
        size_hw: Input size, in pixels.
        threshold: Threshold of the scores.
        batch: Frames at a time.
        files: Photos to read; empty to use ``images``.
        images: Decoded photos, uint8 (H, W, 3) BGR each.
    """

    def __init__(
        self,
        infer: Infer,
        size_hw: tuple[int, int],
        threshold: float,
        *,
        batch: int = 1,
        files: Sequence[Path] = (),
        images: Sequence[NDArray[np.uint8]] = (),
    ) -> None:
        self._infer, self._size_hw, self._threshold, self._batch = infer, size_hw, threshold, batch
        self._files: Iterator[Path] | None = cycle(files) if files else None
        self._images = cycle(images)
        self.log = StageLog()

    @property
    def has_files(self) -> bool:
        """Whether capture and decode are part of it."""
        return self._files is not None

    def replace_engine(self, infer: Infer) -> None:
        """Have something else infer."""
        self._infer = infer

    def run(self) -> list[Verdict]:
        """One batch from its source to its verdicts; the clocks go to the log."""
        clock = time.perf_counter_ns
        begun = clock()
        contents = self._capture()
        captured = clock()
        images = self._decode(contents)
        decoded = clock()
        batch = np.stack([resize(image, self._size_hw) for image in images])
        prepared = clock()
        predictions = self._infer(batch)
        computed = clock()
        verdicts = [Verdict.of(prediction.score, self._threshold) for prediction in predictions]
        self.log.marks.append((begun, captured, decoded, prepared, computed, clock()))
        return verdicts

    def _capture(self) -> list[bytes]:
        if self._files is None:
            return []
        return [next(self._files).read_bytes() for _ in range(self._batch)]

    def _decode(self, contents: list[bytes]) -> list[NDArray[np.uint8]]:
        if self._files is None:
            return [next(self._images) for _ in range(self._batch)]
        return [_decoded(content) for content in contents]


def _decoded(content: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError("A photo cannot be decoded.", "Check it with edge-ad evaluate.")
    return np.asarray(image, np.uint8)
