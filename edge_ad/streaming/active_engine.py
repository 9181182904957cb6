"""What judges frames now, and what judged those that are still under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_ad.photo_spec import PhotoSpec
from edge_ad.runtime.engine import Engine
from edge_ad.scene import SceneLimits
from edge_ad.streaming.control import BundleFacts
from edge_ad.streaming.frame import NO_RECIPE, RecipeMark
from edge_ad.streaming.product_mark import NO_PRODUCT, ProductMark
from edge_ad.streaming.recipe import Recipe

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
        product: The product it was trained on.
        scene: How those photos looked; None where that is not known, and no scene is watched.
        recipe: What it judges for; None in a stream without recipes.
    """

    engine: Engine
    bundle: BundleFacts
    threshold: float
    photos: PhotoSpec = field(default_factory=PhotoSpec)
    product: ProductMark = NO_PRODUCT
    scene: SceneLimits | None = None
    threshold_set: str = ""
    recipe: Recipe | None = None

    @property
    def mark(self) -> RecipeMark:
        """Name and hash of the recipe."""
        return NO_RECIPE if self.recipe is None else self.recipe.mark

    @property
    def number(self) -> int:
        """Number of the recipe; 0 for none."""
        return 0 if self.recipe is None else self.recipe.number


@dataclass
class _Setup:
    """What frames are captured for from one switch to the next.

    Attributes:
        judging: What judges them.
        under_way: How many of them have no result yet.
        last_threshold: The threshold in use when another one took over.
    """

    judging: JudgingEngine
    under_way: int = 0
    last_threshold: float = 0.0


class ActiveEngine:
    """The engine in use. Another one takes over between two captures; frames that are under way keep theirs.

    Each frame is counted from its capture to its result, so that an engine is let go when no frame needs it any more.
    Thread-safe.

    Args:
        first: The engine to start with.
        on_taken_over: Called with the old and the new one at each switch, before the first frame is captured for the
            new one; returns the threshold that the old one was used with last.
        on_unused: Called with a former engine when its last frame has its result.
    """

    def __init__(
        self,
        first: JudgingEngine,
        on_taken_over: Callable[[JudgingEngine, JudgingEngine], float] = lambda old, new: old.threshold,
        on_unused: Callable[[JudgingEngine], None] = lambda judging: None,
    ) -> None:
        self._on_taken_over, self._on_unused = on_taken_over, on_unused
        self._number = 1
        self._now = _Setup(first)
        self._setups = {1: self._now}
        self._lock = threading.Lock()

    @property
    def now(self) -> JudgingEngine:
        """The engine in use."""
        return self._now.judging

    def captured(self) -> tuple[int, JudgingEngine]:
        """Count a frame that was captured now.

        Returns:
            What is active, and its number, which `finished` takes when the frame needs it no more.
        """
        with self._lock:
            self._now.under_way += 1
            return self._number, self._now.judging

    def of(self, number: int) -> JudgingEngine:
        """The engine of the frames with this number; the one in use for a number that is not known."""
        return self._setups.get(number, self._now).judging

    def threshold_of(self, number: int, present: Callable[[], float]) -> float:
        """The threshold for a frame.

        Args:
            number: What it was captured for.
            present: Gives the threshold of the engine in use.
        """
        with self._lock:
            setup = self._setups.get(number, self._now)
            return present() if setup is self._now else setup.last_threshold

    def finished(self, number: int) -> None:
        """Count a frame no longer: it has its result, or gets none."""
        unused = None
        with self._lock:
            setup = self._setups.get(number)
            if setup is None:
                return
            setup.under_way -= 1
            if setup is not self._now and setup.under_way <= 0:
                unused = self._setups.pop(number)
        if unused is not None:
            self._on_unused(unused.judging)

    def give_up(self) -> None:
        """Have no engine wait any longer for a server that is away."""
        with self._lock:
            engines = [setup.judging.engine for setup in self._setups.values()]
        for engine in engines:
            engine.give_up()

    def switch(self, coming: JudgingEngine) -> None:
        """Have another engine judge every frame that is captured from now on."""
        with self._lock:
            old = self._now
            old.last_threshold = self._on_taken_over(old.judging, coming)
            before, self._number = self._number, self._number + 1
            self._now = self._setups[self._number] = _Setup(coming)
            is_unused = old.under_way <= 0
            if is_unused:
                del self._setups[before]
        if is_unused:
            self._on_unused(old.judging)
