"""The Engine contract: one interface over every backend."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import BundleError, DeviceError, EdgeAdError, UsageError
from edge_ad.manifest import Threshold
from edge_ad.prediction import Prediction
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.target import processor
from edge_ad.runtime.tensorrt.timings import DeviceTimings

__all__ = ["Engine", "EngineDescription"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineDescription:
    """What an engine is and where it runs.

    Attributes:
        backend: Backend name, such as ``"openvino"``.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        device: Where it runs, in words.
        version: Version of the backend.
        input_size_hw: Height and width of the images it takes, in pixels.
        threads: CPU threads, 0 where the backend decides.
        source: What it was opened from, in words, such as ``"engines/openvino-int8-x86_64-amx"``.
    """

    backend: str
    precision: str
    device: str
    version: str
    input_size_hw: tuple[int, int]
    threads: int
    source: str = ""

    @classmethod
    def on_cpu(cls, backend: str, version: str, source: EngineSource, threads: int) -> EngineDescription:
        """Describe an engine that runs a source on this machine's processor."""
        return cls(
            backend=backend,
            precision=source.precision,
            device=f"CPU: {processor().name}",
            version=version,
            input_size_hw=source.input_size_hw,
            threads=threads,
            source=source.words,
        )


class Engine(ABC):
    """A deployed detector; use it as a context manager. Public methods check their arguments, ``_infer`` runs.

    Only one thread may use an engine at a time.

    Args:
        description: What the engine is.
        threshold: Threshold on its scores.
        spare: The graph that is compiled instead where the built engine does not load; None where it must load.
    """

    _source: EngineSource

    def __init__(
        self,
        description: EngineDescription,
        threshold: Threshold | None = None,
        spare: EngineSource | None = None,
    ) -> None:
        self._description = description
        self._threshold = threshold
        self._spare = spare
        self._is_open = False

    def __enter__(self) -> Engine:
        try:
            self._open()
        except DeviceError as error:
            if self._spare is None:
                raise
            _log.warning("%s Its graph is compiled instead.", error.message)
            self._use(self._spare)
            self._open()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._close()

    def give_up(self) -> None:  # noqa: B027 - most engines wait for nothing
        """Wait no longer for what may never come, such as a server that is away: the stream is to end. Any thread."""

    def describe(self) -> EngineDescription:
        """What the engine is and where it runs."""
        return self._description

    @property
    def threshold(self) -> Threshold:
        """Threshold on this engine's scores.

        Raises:
            EdgeAdError: It was made without one.
        """
        if self._threshold is None:
            raise EdgeAdError("This engine has no threshold.", "Open it from a bundle with open_engine.")
        return self._threshold

    def infer(self, images: NDArray[np.uint8]) -> list[Prediction]:
        """Score a batch of frames.

        Args:
            images: uint8 (N, H, W, 3), BGR as OpenCV gives it, already at the engine's input size.

        Returns:
            One prediction per image.

        Raises:
            EdgeAdError: The engine is not open.
            UsageError: Wrong dtype or shape.
            BundleError: Its graph gives something other than a score and a map for each image.
        """
        self._check_open()
        self._check(images)
        return self._predictions(*self._infer(np.ascontiguousarray(images)), len(images))

    def infer_many(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """Score a stream of frames with high throughput: a backend may work on several at a time.

        Args:
            frames: uint8 (1, H, W, 3) each, as for `infer`; read lazily, a few ahead of the predictions. A frame may be
                overwritten as soon as the next one is asked for.

        Yields:
            One prediction per frame, in order.

        Raises:
            EdgeAdError: The engine is not open, or was closed before the end.
            UsageError: Wrong dtype or shape.
        """
        self._check_open()
        return self._infer_many(self._checked(frames))

    def warm_up(self, runs: int = 3) -> None:
        """Run on a grey frame so that lazy initialisation is done before the first real one."""
        height, width = self._description.input_size_hw
        frame = np.full((1, height, width, 3), 127, np.uint8)
        for _ in range(runs):
            self.infer(frame)

    def timings(self) -> DeviceTimings | None:
        """Times of the last inferences on the device; None where the backend does not measure them."""
        return None

    def _use(self, source: EngineSource) -> None:
        """Use another source the next time it is opened."""
        self._source = source
        self._description = replace(self._description, source=source.words)

    def _check_open(self) -> None:
        if not self._is_open:
            raise EdgeAdError("This engine is not open.", "Use it in a with block: with engine: engine.infer(images)")

    def _checked(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        for frame in frames:
            self._check_open()
            self._check(frame)
            if frame.shape[0] != 1:
                raise UsageError(f"infer_many takes one frame at a time, not {frame.shape[0]}.", "Use infer(images).")
            yield frame

    def _check(self, images: NDArray[np.uint8]) -> None:
        expected = (*self._description.input_size_hw, 3)
        if images.dtype != np.uint8:
            raise UsageError(f"Images must be uint8, not {images.dtype}.")
        if images.ndim != 4 or images.shape[0] < 1 or images.shape[1:] != expected:
            raise UsageError(f"Images must have shape (N, {', '.join(map(str, expected))}), not {images.shape}.")

    def _predictions(self, scores: NDArray[np.float32], maps: NDArray[np.float32], count: int) -> list[Prediction]:
        """Predictions from a backend's scores and maps of ``count`` images; refuses other shapes."""
        expected = ("float32", (count,)), ("float32", (count, *self._description.input_size_hw))
        found = _kind(scores), _kind(maps)
        if found != expected:
            words = " and ".join(f"{dtype} {shape}" for dtype, shape in found)
            raise BundleError(
                f"The {self._description.precision} graph gives {words} for {count} images, "
                f"not float32 {expected[0][1]} and float32 {expected[1][1]}.",
                "Export the bundle again: edge-ad export <run>",
            )
        return [Prediction(float(score), anomaly_map) for score, anomaly_map in zip(scores, maps, strict=True)]

    def _infer_many(self, frames: Iterator[NDArray[np.uint8]]) -> Iterator[Prediction]:
        """Checked frames → predictions in order; override where the backend can overlap frames."""
        for frame in frames:
            yield self.infer(frame)[0]

    @abstractmethod
    def _open(self) -> None:
        """Acquire the backend's resources."""

    @abstractmethod
    def _close(self) -> None:
        """Release them; must be safe to call once after ``_open``."""

    @abstractmethod
    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Checked, contiguous uint8 (N, H, W, 3) → float32 scores (N,) and maps (N, H, W), owned by the caller."""


def _kind(array: object) -> tuple[str, tuple[int, ...]]:
    """Type and shape; for anything but an array, such as the list of a sequence output, the name of its type."""
    return (str(array.dtype), array.shape) if isinstance(array, np.ndarray) else (type(array).__name__, ())
