"""The Engine contract: one interface over every backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.prediction import Prediction

__all__ = ["Engine", "EngineDescription"]


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
    """

    backend: str
    precision: str
    device: str
    version: str
    input_size_hw: tuple[int, int]
    threads: int


class Engine(ABC):
    """A deployed detector. Use as a context manager; the public methods check, ``_infer`` runs.

    Args:
        description: What the engine is.
    """

    def __init__(self, description: EngineDescription) -> None:
        self._description = description
        self._is_open = False

    def __enter__(self) -> Engine:
        self._open()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._close()

    def describe(self) -> EngineDescription:
        """What the engine is and where it runs."""
        return self._description

    def infer(self, images: NDArray[np.uint8]) -> list[Prediction]:
        """Score a batch of frames.

        Args:
            images: uint8 (N, H, W, 3), BGR as OpenCV gives it, already at the engine's input size.

        Returns:
            One prediction per image.

        Raises:
            EdgeAdError: The engine is not open.
            UsageError: Wrong dtype or shape.
        """
        if not self._is_open:
            raise EdgeAdError("This engine is not open.", "Use it in a with block: with engine: engine.infer(images)")
        self._check(images)
        scores, maps = self._infer(np.ascontiguousarray(images))
        return [Prediction(float(score), anomaly_map) for score, anomaly_map in zip(scores, maps, strict=True)]

    def warm_up(self, runs: int = 3) -> None:
        """Run on a grey frame so that lazy initialisation is done before the first real one."""
        height, width = self._description.input_size_hw
        frame = np.full((1, height, width, 3), 127, np.uint8)
        for _ in range(runs):
            self.infer(frame)

    def _check(self, images: NDArray[np.uint8]) -> None:
        expected = (*self._description.input_size_hw, 3)
        if images.dtype != np.uint8:
            raise UsageError(f"Images must be uint8, not {images.dtype}.")
        if images.ndim != 4 or images.shape[0] < 1 or images.shape[1:] != expected:
            raise UsageError(f"Images must have shape (N, {', '.join(map(str, expected))}), not {images.shape}.")

    @abstractmethod
    def _open(self) -> None:
        """Acquire the backend's resources."""

    @abstractmethod
    def _close(self) -> None:
        """Release them; must be safe to call once after ``_open``."""

    @abstractmethod
    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Checked, contiguous uint8 (N, H, W, 3) → scores float32 (N,) and maps float32 (N, H, W), owned by the caller."""
