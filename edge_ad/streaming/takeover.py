"""What a stream says and does when another bundle takes over, or cannot."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_ad.runtime.engine import Engine
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.events import Event
from edge_ad.streaming.slot import EngineSlot, Judging
from edge_ad.streaming.swap import BundleSwapper

__all__ = ["Takeovers"]


class Takeovers:
    """The changes of bundle of one stream.

    Args:
        control: Is told of each.
        swapper: Opens and closes bundles; None when the stream has only the engine it began with.

    Attributes:
        count: How many there were.
    """

    def __init__(self, control: StreamControl, swapper: BundleSwapper | None) -> None:
        self._control, self._swapper = control, swapper
        self.count = 0

    def first(self, engine: Engine, threshold: float) -> Judging:
        """What judges first."""
        if self._swapper is not None:
            return self._swapper.first
        return Judging(engine, self._control.bundle, threshold)

    def start(self, slot: EngineSlot, warm_up: Callable[[Judging], None]) -> None:
        """Serve requests from now on."""
        if self._swapper is not None:
            self._swapper.start(slot, self._control, warm_up)

    def refuse_requests(self) -> None:
        """Answer a request that nobody serves."""
        asked = None if self._swapper is not None else self._control.take_swap()
        if asked is not None:
            path, by = asked.path, asked.by
            text = f"The bundle {path} was refused: this stream cannot open another one."
            self._control.emit(Event("bundle refused", time.time(), text=text, data={"path": str(path), "by": by}))

    def taken_over(self, old: Judging, new: Judging) -> None:
        """Judge with the new threshold, and say so; called between two frames, in the thread that judges."""
        self.count += 1
        before = self._control.threshold
        self._control.use_bundle(new.bundle, new.threshold)
        text = f"The bundle {new.bundle['hash'][:12]} took over, with threshold {new.threshold:g}."
        data = {
            "old": old.bundle["hash"],
            "new": new.bundle["hash"],
            "old_threshold": before,
            "threshold": new.threshold,
        }
        self._control.emit(Event("bundle swapped", time.time(), text=text, data=data))
        if self._swapper is not None:
            self._swapper.taken_over(old)
