"""The handle on a running stream, for watching and controlling it from other threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from edge_ad.errors import UsageError
from edge_ad.masked_address import masked_text
from edge_ad.outside_text import storable
from edge_ad.streaming.frame import NO_RECIPE, Event, RecipeMark
from edge_ad.streaming.golden.check import GoldenCheck
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.requests import RecipeAnswer, RecipeRequest, SwapRequest

__all__ = ["BundleFacts", "StreamControl"]

_MOST_WAITING_EVENTS = 10_000  # while a stream delivers nothing; beyond that the oldest are dropped
_LONGEST_RECIPE = 40  # as recipes allow


class BundleFacts(TypedDict):
    """What judges the frames.

    Attributes:
        name: Name of the product or folder.
        hash: Content hash: SHA-256 of the manifest, which holds the hash of every other file.
        method: The detector, such as ``"fader"``.
        precision: Graph that runs.
        backend: What runs it.
        threshold: The bundle's own threshold.
    """

    name: str
    hash: str
    method: str
    precision: str
    backend: str
    threshold: float


class StreamControl:
    """Watches and controls one stream; every method may be called from any thread.

    Args:
        threshold: Raw score above which a frame is defective.
        bundle: What judges the frames; None for an engine that came from no bundle.
        keep: Keeps a bundle's threshold that somebody set, for later streams, given the bundle, the value and who; it
            returns what became of it, as a sentence. None keeps nothing.

    Attributes:
        golden: The golden check; nothing is asked for before it has a plan.

    Raises:
        UsageError: The threshold is not a finite number.
    """

    def __init__(
        self,
        threshold: float = 0.0,
        bundle: BundleFacts | None = None,
        keep: Callable[[BundleFacts, float, str], str] | None = None,
    ) -> None:
        self.golden = GoldenCheck()
        self._keep = keep or (lambda bundle, value, by: "")
        self._lock = threading.Lock()
        self._threshold = _finite(threshold)
        self._paused = threading.Event()
        self._stopped = threading.Event()
        self._events: deque[Event] = deque(maxlen=_MOST_WAITING_EVENTS)
        self._asked_swap: SwapRequest | None = None
        self._asked_recipes: deque[RecipeRequest] = deque()
        self._recipe, self._recipe_number = NO_RECIPE, 0
        self._recipe_numbers: Callable[[], Mapping[str, int]] | None = None
        self._wake: Callable[[], None] = lambda: None
        self._take_progress: Callable[[], Progress] = Progress
        self._bundle = bundle or BundleFacts(name="", hash="", method="", precision="", backend="", threshold=threshold)

    @property
    def threshold(self) -> float:
        """Raw score that frames are judged with now."""
        return self._threshold

    @property
    def bundle(self) -> BundleFacts:
        """What judges the frames now; see `BundleFacts` for the keys."""
        return self._bundle

    @property
    def recipe(self) -> RecipeMark:
        """The recipe that frames are captured under now."""
        return self._recipe

    @property
    def judging(self) -> tuple[RecipeMark, float, str]:
        """The recipe, the threshold and the content hash of the bundle, of the same moment."""
        with self._lock:
            return self._recipe, self._threshold, self._bundle["hash"]

    @property
    def recipe_number(self) -> int:
        """Number by which a PLC selects that recipe; 0 for none."""
        return self._recipe_number

    @property
    def has_recipes(self) -> bool:
        """Whether the stream can be switched between recipes."""
        return self._recipe_numbers is not None

    def recipes(self) -> Mapping[str, int]:
        """Name of each recipe that it can be switched to → its number, 0 for none."""
        return {} if self._recipe_numbers is None else self._recipe_numbers()

    @property
    def is_paused(self) -> bool:
        """Whether frames pass unjudged."""
        return self._paused.is_set()

    @property
    def is_stopped(self) -> bool:
        """Whether the stream was asked to end."""
        return self._stopped.is_set()

    def set_threshold(self, value: float, *, by: str, bundle: str | None = None) -> None:
        """Judge all later frames with another threshold.

        Args:
            value: Raw score.
            by: Who changed it, for the audit entry.
            bundle: Content hash of the bundle it is meant for, since each bundle has its own scale. None for any.

        Raises:
            UsageError: It is not a finite number: NaN would pass every frame. Or another bundle has taken over.
        """
        value = _finite(value)
        with self._lock:
            if bundle is not None and bundle != self._bundle["hash"]:
                raise UsageError("Another bundle has taken over.", "Look at its threshold, and choose again.")
            old, self._threshold = self._threshold, value
            kept = self._keep(self._bundle, value, by)
        text = f"Threshold changed from {old:g} to {value:g} by {by}. {kept}".rstrip()
        self._tell("threshold changed", text, old=old, new=value, by=by)

    def pause(self, by: str) -> None:
        """Let frames pass unjudged; they are counted as ``"paused"``."""
        with self._lock:
            if self._paused.is_set():
                return
            self._paused.set()
        self._tell("paused", f"Paused by {by}.", by=by)

    def resume(self, by: str) -> None:
        """Judge frames again."""
        with self._lock:
            if not self._paused.is_set():
                return
            self._paused.clear()
        self._tell("resumed", f"Resumed by {by}.", by=by)

    def stop(self) -> None:
        """End the stream: what was captured is still judged and delivered."""
        self._stopped.set()

    def swap_bundle(self, path: Path, *, by: str, any_product: bool = False) -> None:
        """Request another bundle; the event ``"bundle swapped"`` or ``"bundle refused"`` is the answer.

        Of several requests before the answer, only the newest counts.

        Args:
            path: Its folder.
            by: Who asks.
            any_product: Whether it may be of another product than the one that judges.
        """
        with self._lock:
            self._asked_swap = SwapRequest(path, by, any_product)
        self._wake()

    def switch_recipe(self, recipe: str | int, *, by: str, only_prepare: bool = False) -> Future[RecipeAnswer]:
        """Request another recipe, as a whole. Requests are carried out in their order.

        Args:
            recipe: Its name or its number.
            by: Who asks.
            only_prepare: Open its bundle only, so that a later switch is quick.

        Returns:
            The answer: frames are captured under the recipe from then on, or an `EdgeAdError` says why nothing has
            changed. The event ``"recipe switched"`` or ``"recipe refused"`` says the same to all outputs.
        """
        answer: Future[RecipeAnswer] = Future()
        answer.set_running_or_notify_cancel()
        try:
            request = RecipeRequest(self._recipe_named(recipe), by, only_prepare, answer)
        except UsageError as error:
            self.tell_refused(recipe, by, error)
            answer.set_exception(error)
            return answer
        self._asked_recipes.append(request)
        self._wake()
        return answer

    def _recipe_named(self, recipe: str | int) -> str:
        if not self.has_recipes:
            raise UsageError("This stream has no recipes.", "Start it with --recipes DIR --recipe NAME.")
        if isinstance(recipe, str) and len(recipe) > _LONGEST_RECIPE:
            raise UsageError(f"There is no recipe {recipe[:_LONGEST_RECIPE]}…", "A name has at most 40 characters.")
        if isinstance(recipe, str):
            return recipe
        found = [name for name, number in self.recipes().items() if number == recipe and number]
        if not found:
            raise UsageError(f"There is no recipe with number {recipe}.", "edge-ad recipe check DIR lists them.")
        if len(found) > 1:
            message = f"Several recipes have the number {recipe}: {', '.join(found)}."
            raise UsageError(message, "edge-ad recipe check DIR names their files.")
        return found[0]

    def emit(self, event: Event) -> None:
        """Queue an event for every sink, with source and text made storable and free of secrets."""
        source, text = storable(event.source), storable(masked_text(event.text))
        self._events.append(replace(event, source=source, text=text))

    def progress(self) -> Progress:
        """The newest numbers; cheap enough to ask several times a second."""
        return self._take_progress()

    # What follows is for the session that runs the stream.

    def tell_refused(self, recipe: str | int, by: str, error: BaseException) -> None:
        """Note that a recipe was asked for and refused."""
        why, present = " ".join(str(error).split()), self._recipe.name
        asked = str(recipe)[:_LONGEST_RECIPE]
        text = f"The recipe {asked} was refused, and {present or 'the present one'} stays in use: {why}"
        self._tell("recipe refused", text, recipe=asked, by=by, why=why, present=present)

    def take_events(self) -> list[Event]:
        """Take the events that were not delivered yet, oldest first."""
        taken: list[Event] = []
        while True:
            try:
                taken.append(self._events.popleft())
            except IndexError:
                return taken

    def take_swap(self) -> SwapRequest | None:
        """Take the requested swap, if there is one."""
        with self._lock:
            asked, self._asked_swap = self._asked_swap, None
        return asked

    def take_recipe_request(self) -> RecipeRequest | None:
        """Take the oldest request for a recipe, if there is one."""
        try:
            return self._asked_recipes.popleft()
        except IndexError:
            return None

    def serve_requests(self, wake: Callable[[], None], recipes: Callable[[], Mapping[str, int]] | None = None) -> None:
        """Set what is called when something was requested, and what lists the recipes."""
        self._wake, self._recipe_numbers = wake, recipes

    def report_from(self, take: Callable[[], Progress]) -> None:
        """Set the function that gives the progress."""
        self._take_progress = take

    def use_bundle(
        self, bundle: BundleFacts, threshold: float, recipe: RecipeMark = NO_RECIPE, number: int = 0
    ) -> float:
        """Note that another bundle or recipe holds from now on, with this threshold.

        Returns:
            The threshold before.

        Raises:
            UsageError: The threshold is not a finite number.
        """
        value = _finite(threshold)
        with self._lock:
            before, self._bundle, self._threshold = self._threshold, bundle, value
            self._recipe, self._recipe_number = recipe, number
        return before

    def _tell(self, kind: str, text: str, **data: Any) -> None:
        self.emit(Event(kind, time.time(), text=text, data=data))


def _finite(threshold: float) -> float:
    """The threshold as a float; NaN or infinity would pass every frame."""
    is_number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    try:
        value = float(threshold) if is_number else math.nan
    except OverflowError:  # an integer beyond every float
        value = math.inf
    if not math.isfinite(value):
        raise UsageError(f"The threshold {threshold} is not a finite number.", "edge-ad inspect shows the bundle's.")
    return value
