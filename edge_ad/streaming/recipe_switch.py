"""Switches a running stream to another recipe, as a whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.streaming.active_engine import ActiveEngine, JudgingEngine
from edge_ad.streaming.bundle_opening import OpenBundle, manifest_hash
from edge_ad.streaming.control import BundleFacts, StreamControl
from edge_ad.streaming.filters import Region
from edge_ad.streaming.frame import Event
from edge_ad.streaming.recipe import BundleChoice, Recipe, RecipeShelf
from edge_ad.streaming.requests import RecipeAnswer, RecipeRequest
from edge_ad.streaming.sources.base import CameraSettings, Source
from edge_ad.streaming.warm_bundles import WarmBundles, WarmLimits

if TYPE_CHECKING:
    from edge_ad.streaming.operator_thresholds import OperatorThreshold

__all__ = ["RecipeSwitcher", "RunningLine", "bundle_key", "switch_event"]


@dataclass(frozen=True)
class RunningLine:
    """What of a running stream a switch needs.

    Attributes:
        active: What judges.
        control: Takes events.
        warm_up: Warms up an engine.
        sources: The open sources.
        frame_sizes: Gives height and width of the newest frame of each source, in pixels.
    """

    active: ActiveEngine
    control: StreamControl
    warm_up: Callable[[JudgingEngine], None]
    sources: Sequence[Source] = ()
    frame_sizes: Callable[[], Sequence[tuple[int, int]]] = list


class RecipeSwitcher:
    """Carries out requests for recipes, one at a time.

    Args:
        first: The recipe that the stream begins with.
        shelf: The recipes it can be switched to.
        opener: Opens and checks a bundle.
        on_recipe: Told of a recipe and its threshold before the first frame that is captured under it.
        limits: How many bundles stay open.
        kept: Gives the threshold that an operator set for a bundle, asked at each switch; None for none.
    """

    def __init__(
        self,
        first: Recipe,
        shelf: RecipeShelf,
        opener: Callable[[BundleChoice], OpenBundle],
        on_recipe: Callable[[Recipe, float], None] = lambda recipe, threshold: None,
        limits: WarmLimits | None = None,
        kept: Callable[[BundleFacts], OperatorThreshold | None] = lambda bundle: None,
    ) -> None:
        self.first, self.shelf, self.limits = first, shelf, limits or WarmLimits(most=4)
        self._kept = kept
        self._opener, self._on_recipe = opener, on_recipe

    def serve(self, asked: RecipeRequest, line: RunningLine, warm: WarmBundles) -> None:
        """Answer a request: the stream has switched, the bundle is warm, or nothing has changed."""
        started = time.perf_counter()
        try:
            answer = self._carried_out(asked, line, warm, started)
        except (EdgeAdError, OSError) as error:
            self._refuse(asked, line.control, error)
        except Exception as error:  # whatever is wrong with it, the present one stays in use
            self._refuse(asked, line.control, UsageError(f"{type(error).__name__}: {error}"))
        else:
            asked.answer.set_result(answer)

    def judging(self, opened: OpenBundle, recipe: Recipe) -> JudgingEngine:
        """What judges under a recipe, with its threshold: the recipe's, else an operator's, else the bundle's.

        Raises:
            BundleError: What an operator set cannot be read.
        """
        own = opened.judging
        if recipe.threshold is not None:
            said = f"set by recipe {recipe.mark.name}"
            return replace(own, threshold=recipe.threshold, threshold_set=said, recipe=recipe)
        found = None if recipe.bundle.takes_bundle_threshold else self._kept(own.bundle)
        if found is None:
            return replace(own, recipe=recipe)
        return replace(own, threshold=found.value, threshold_set=f"set by {found.by} at {found.time}", recipe=recipe)

    def _carried_out(self, asked: RecipeRequest, line: RunningLine, warm: WarmBundles, started: float) -> RecipeAnswer:
        recipe = self.shelf.read(asked.name)
        opened, was_warm = warm.take(bundle_key(recipe.bundle), lambda: self._opened(recipe, line))
        try:
            judging = self.judging(opened, recipe)
            _check_fit(judging, line)
            answer = RecipeAnswer(recipe.mark, recipe.number, was_warm)
            if asked.is_prepared_only:
                warm.release(opened.judging.engine)
                if not warm.is_open(opened.judging.engine):
                    message = "Its bundle is closed again: there is no room for it beside the one in use."
                    raise UsageError(message, "Allow more: --warm-bundles, --recipe-memory.")
                return replace(answer, ms=_ms_since(started))
            self._switch(judging, recipe, line)
        except BaseException:
            warm.release(opened.judging.engine)
            raise
        answer = replace(answer, ms=_ms_since(started))
        line.control.emit(switch_event(judging, recipe, asked.by, answer))
        return answer

    def _opened(self, recipe: Recipe, line: RunningLine) -> OpenBundle:
        opened = self._opener(recipe.bundle)
        try:
            line.warm_up(opened.judging)
        except BaseException:
            opened.stack.close()
            raise
        return opened

    def _switch(self, judging: JudgingEngine, recipe: Recipe, line: RunningLine) -> None:
        now = line.active.now.recipe
        before = CameraSettings() if now is None else now.camera
        with ExitStack() as undo:
            for source in line.sources if recipe.camera != before else ():
                undo.callback(_restore, source.change(recipe.camera))
            self._on_recipe(recipe, judging.threshold)
            undo.pop_all()
        line.control.golden.use(recipe.golden, recipe.mark, judging.threshold, judging.bundle["hash"])
        line.active.switch(judging)

    def _refuse(self, asked: RecipeRequest, control: StreamControl, error: BaseException) -> None:
        control.tell_refused(asked.name, asked.by, error)
        asked.answer.set_exception(error)


def _restore(settings: Callable[[], None]) -> None:
    with suppress(EdgeAdError):  # a camera that has gone takes them when it returns
        settings()


def bundle_key(choice: BundleChoice) -> Hashable:
    """The same for two recipes that can be judged by one open bundle: its content, and how it is run."""
    return replace(choice, path=choice.path.resolve()), manifest_hash(choice.path)


def _check_fit(coming: JudgingEngine, line: RunningLine) -> None:
    """Refuse what the open sources cannot give."""
    now, recipe = line.active.now, coming.recipe
    if coming.photos.significant_bits != now.photos.significant_bits:
        depths = [f"{photos.significant_bits or 'unknown'}" for photos in (coming.photos, now.photos)]
        message = f"Its photos have {depths[0]} significant bits, and those of the present bundle {depths[1]}."
        raise UsageError(message, "Start another stream with it.")
    if recipe is None or now.recipe is None:
        return
    for name in ("exposure_us", "gain"):
        if getattr(recipe.camera, name) is None and getattr(now.recipe.camera, name) is not None:
            said = name.removesuffix("_us")
            raise UsageError(f"It gives no {said}, and the present recipe does.", f"Give {said} in every recipe.")
    for height, width in line.frame_sizes():
        if isinstance(recipe.region, Region) and not recipe.region.is_inside((height, width)):
            raise UsageError("Its region reaches beyond the frame.", f"The frame has {width}×{height} pixels.")


def switch_event(judging: JudgingEngine, recipe: Recipe, by: str, answer: RecipeAnswer | None = None) -> Event:
    """The audit entry of a switch, or of the recipe that a stream begins with.

    Args:
        judging: What judges under the recipe.
        recipe: The recipe.
        by: Who selected it.
        answer: How long it took; None at the start.
    """
    data: dict[str, Any] = {
        "recipe": recipe.mark.name,
        "recipe_hash": recipe.mark.hash,
        "number": recipe.number,
        "bundle": judging.bundle["hash"],
        "threshold": judging.threshold,
        "by": by,
        "ms": None if answer is None else answer.ms,
        "was_warm": None if answer is None else answer.was_warm,
    }
    took = "." if answer is None else f", in {answer.ms:.0f} ms."
    text = (
        f"Recipe {recipe.mark.name} ({recipe.mark.hash[:12]}) selected by {by}: bundle {judging.bundle['hash'][:12]}, "
        f"threshold {judging.threshold:g}{took}"
    )
    return Event("recipe switched", time.time(), text=text, data=data)


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 1)
