"""Bundle hot swap: open, warm up and check the next bundle while the stream runs, or refuse it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from edge_ad.bundle.bundle import MANIFEST_FILE
from edge_ad.errors import BundleError, EdgeAdError, UsageError
from edge_ad.runtime.engine import Engine
from edge_ad.streaming.active_engine import JudgingEngine
from edge_ad.streaming.bundle_opening import OpenBundle, Opener
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Event
from edge_ad.streaming.recipe_switch import RecipeSwitcher, RunningLine, bundle_key
from edge_ad.streaming.requests import SwapRequest
from edge_ad.streaming.warm_bundles import WarmBundles, WarmLimits

__all__ = ["BundleSwapper", "EngineSwaps"]

_JOIN_TIMEOUT_S = 60.0
_POLL_S = 0.5


class BundleSwapper:
    """Opens requested bundles in its own thread, and has their engines take over.

    Args:
        opener: Opens and checks a bundle, as `open_bundle` does.
        first: The bundle to start with; closed when another one has taken over, or at the end.
        watched: Folder whose manifest is checked twice a second; a change requests it. None watches nothing.
        any_product: Whether the watched bundle may be replaced by one of another product.
        cancel: Cancels the opening of a bundle; called when the stream ends.
        recipes: Switches recipes; then bundles are swapped by recipes alone.

    Attributes:
        first: The engine to start with.
    """

    def __init__(
        self,
        opener: Opener,
        first: OpenBundle,
        watched: Path | None = None,
        cancel: Callable[[], None] = lambda: None,
        *,
        any_product: bool = False,
        recipes: RecipeSwitcher | None = None,
    ) -> None:
        self.first = first.judging if recipes is None else recipes.judging(first, recipes.first)
        self._opener, self._watched, self._cancel = opener, watched, cancel
        self._any_product, self._recipes = any_product, recipes
        key = None if recipes is None else bundle_key(recipes.first.bundle)
        self._warm = WarmBundles(first, key, WarmLimits() if recipes is None else recipes.limits, self._not_closed)
        self._unused: list[JudgingEngine] = []
        self._is_woken, self._is_ending = True, False  # what is requested before the start is served then
        self._control: StreamControl | None = None
        self._changed = threading.Condition()
        self._seen = self._newest = _stamp(watched)
        self._line: RunningLine | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> BundleSwapper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def announce(self, control: StreamControl) -> None:
        """Take the requests of a stream that is about to start."""
        self._control = control
        control.serve_requests(self._wake, None if self._recipes is None else self._recipes.shelf.names)

    def start(self, line: RunningLine) -> None:
        """Start serving the stream that was announced."""
        self._line = line
        self._thread = threading.Thread(target=self._serve, args=(line,), name="stream-swap", daemon=True)
        self._thread.start()

    def unused(self, judging: JudgingEngine) -> None:
        """Let go of an engine that no frame needs any more."""
        with self._changed:
            self._unused.append(judging)
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread and close every engine; called when no engine is in use any more."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        self._cancel()
        if self._thread is not None:
            self._thread.join(_JOIN_TIMEOUT_S)  # finish opening a bundle first
        if self._control is not None:
            self._control.serve_requests(lambda: None)
            _refuse_recipes(self._control, "The stream has ended.")
        self._warm.close()

    def _wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def _serve(self, line: RunningLine) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_ending or self._unused or self._is_woken, _POLL_S)
                if self._is_ending:
                    return
                self._is_woken = False
                unused, self._unused = self._unused, []
            for judging in unused:
                self._warm.release(judging.engine)
            self._serve_requests(line)

    def _serve_requests(self, line: RunningLine) -> None:
        asked = line.control.take_swap() or self._watched_change()
        if asked is not None:
            self._swap(asked, line)
        while not self._is_ending and (wanted := line.control.take_recipe_request()) is not None:
            assert self._recipes is not None  # without recipes, none can be requested
            self._recipes.serve(wanted, line, self._warm)

    def _not_closed(self, error: Exception) -> None:
        text = f"The engine that judged before could not be closed: {type(error).__name__}: {error}"
        if self._line is not None:
            self._line.control.emit(Event("alarm", time.time(), text=text, data={"alarm": "engine"}))

    def _watched_change(self) -> SwapRequest | None:
        before, self._newest = self._newest, _stamp(self._watched)
        # A manifest that has not changed for half a second is complete.
        if self._watched is None or self._newest in (None, self._seen) or self._newest != before:
            return None
        self._seen = self._newest
        return SwapRequest(self._watched, "watched folder", self._any_product)

    def _swap(self, asked: SwapRequest, line: RunningLine) -> None:
        path, by = asked.path, asked.by
        try:
            if self._recipes is not None:
                raise UsageError("The bundle of this stream is that of its recipe.", "Switch to another recipe.")
            opened, _ = self._warm.take(None, lambda: self._opened(asked, line))
        except (EdgeAdError, OSError) as error:
            _refuse(line.control, path, by, str(error))
        except Exception as error:  # whatever is wrong with it, the present one stays in use
            _refuse(line.control, path, by, f"{type(error).__name__}: {error}")
        else:
            line.active.switch(opened.judging)

    def _opened(self, asked: SwapRequest, line: RunningLine) -> OpenBundle:
        opened = self._opener(asked.path)
        try:
            _check_fit(opened.judging, line.active.now, any_product=asked.any_product)
            line.warm_up(opened.judging)
        except BaseException:
            opened.stack.close()
            raise
        return opened


def _refuse(control: StreamControl, path: Path, by: str, why: str) -> None:
    text = f"The bundle {path} was refused, and the present one stays in use: {' '.join(why.split())}"
    data = {"path": str(path), "by": by, "why": why, "bundle": control.bundle["hash"]}
    control.emit(Event("bundle refused", time.time(), text=text, data=data))


def _refuse_recipes(control: StreamControl, why: str) -> None:
    """Answer every request that waits."""
    while (asked := control.take_recipe_request()) is not None:
        asked.answer.set_exception(UsageError(why))


def _check_fit(coming: JudgingEngine, now: JudgingEngine, *, any_product: bool) -> None:
    """Refuse a bundle of another product, or one whose photos the open sources cannot give."""
    if coming.product.name != now.product.name and not any_product:
        raise BundleError(
            f"Its product is {coming.product.name!r}, and that of the present bundle {now.product.name!r}.",
            "To take it anyway: --any-product, or any_product of swap_bundle.",
        )
    if coming.photos.significant_bits != now.photos.significant_bits:
        depths = [f"{photos.significant_bits or 'unknown'}" for photos in (coming.photos, now.photos)]
        raise BundleError(
            f"Its photos have {depths[0]} significant bits, and those of the present bundle {depths[1]}.",
            "Start another stream with it.",
        )


def _stamp(folder: Path | None) -> tuple[int, int, int] | None:
    """Changes when the manifest is replaced or rewritten; None while there is none."""
    if folder is None:
        return None
    try:
        status = (folder / MANIFEST_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class EngineSwaps:
    """The bundle swaps of one stream.

    Args:
        control: Takes an event for each.
        swapper: Opens and closes bundles; None for a stream with one fixed engine.

    Attributes:
        count: How many there were.
    """

    def __init__(self, control: StreamControl, swapper: BundleSwapper | None) -> None:
        self._control, self._swapper = control, swapper
        self.count = 0

    def first(self, engine: Engine, threshold: float) -> JudgingEngine:
        """The engine to start with."""
        if self._swapper is not None:
            return self._swapper.first
        return JudgingEngine(engine, self._control.bundle, threshold)

    def announce(self) -> None:
        """Take requests from now on, which are served once the stream has started."""
        if self._swapper is not None:
            self._swapper.announce(self._control)

    def start(self, line: RunningLine) -> None:
        """Start serving requests."""
        if self._swapper is not None:
            self._swapper.start(line)

    def refuse_requests(self) -> None:
        """Refuse a request where there is no swapper."""
        asked = None if self._swapper is not None else self._control.take_swap()
        if asked is not None:
            path, by = asked.path, asked.by
            text = f"The bundle {path} was refused: this stream cannot open another one."
            self._control.emit(Event("bundle refused", time.time(), text=text, data={"path": str(path), "by": by}))

    def taken_over(self, old: JudgingEngine, new: JudgingEngine) -> float:
        """Use the new threshold, and report a new bundle; called between two captures.

        Returns:
            The threshold before.
        """
        self.count += 1
        before = self._control.use_bundle(new.bundle, new.threshold, new.mark, new.number)
        if new.recipe is not None:  # the switch tells of it
            return before
        text = f"The bundle {new.bundle['hash'][:12]} took over, with threshold {new.threshold:g}"
        text += f", {new.threshold_set}." if new.threshold_set else "."
        data = {
            "old": old.bundle["hash"],
            "new": new.bundle["hash"],
            "old_threshold": before,
            "threshold": new.threshold,
        }
        self._control.emit(Event("bundle swapped", time.time(), text=text, data=data))
        return before

    def unused(self, judging: JudgingEngine) -> None:
        """Let go of an engine that no frame needs any more."""
        if self._swapper is not None:
            self._swapper.unused(judging)
