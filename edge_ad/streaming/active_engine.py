"""The active engine, which another one can replace between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_ad.photo_spec import PhotoSpec
from edge_ad.runtime.engine import Engine
from edge_ad.scene import SceneLimits
from edge_ad.streaming.control import BundleFacts

__all__ = ["ActiveEngine", "JudgingEngine"]


@dataclass(frozen=True)
class JudgingEngine:
    """An open engine that is warm, and what is known about it.

    Attributes:
        engine: The engine.
        bundle: What it came from.
        threshold: Raw score its frames are judged with when it takes over.
        threshold_set: Who set that threshold and when, where it is not the bundle's own; else empty.
        photos: Depth and shape of the photos that it was trained on.
        product: Name of the product it was trained on.
        scene: How those photos looked; None where that is not known, and no scene is watched.
    """

    engine: Engine
    bundle: BundleFacts
    threshold: float
    photos: PhotoSpec = field(default_factory=PhotoSpec)
    product: str = ""
    scene: SceneLimits | None = None
    threshold_set: str = ""


class ActiveEngine:
    """Holds the engine in use, and perhaps the next one.

    Args:
        first: The engine to start with.
        on_taken_over: Called with the old and the new one after each change, in the thread that judges.
    """

    def __init__(self, first: JudgingEngine, on_taken_over: Callable[[JudgingEngine, JudgingEngine], None]) -> None:
        self._now = first
        self._next: JudgingEngine | None = None
        self._lock = threading.Lock()
        self._on_taken_over = on_taken_over

    @property
    def now(self) -> JudgingEngine:
        """The engine in use."""
        return self._now

    @property
    def has_next(self) -> bool:
        """Whether another one waits to take over."""
        return self._next is not None

    def offer(self, judging: JudgingEngine) -> JudgingEngine | None:
        """Have another engine take over before the next frame.

        Returns:
            An earlier offer that never took over, if there was one.
        """
        with self._lock:
            unused, self._next = self._next, judging
        return unused

    def withdraw(self) -> JudgingEngine | None:
        """Take back an offer that has not taken over."""
        with self._lock:
            unused, self._next = self._next, None
        return unused

    def take_over(self) -> JudgingEngine:
        """Let the next one take over, if there is one; called by the judging thread while no frame is in flight.

        Returns:
            The engine in use from now on.
        """
        if self._next is None:
            return self._now
        with self._lock:
            coming, self._next = self._next, None
        if coming is not None:
            old, self._now = self._now, coming
            self._on_taken_over(old, coming)
        return self._now
