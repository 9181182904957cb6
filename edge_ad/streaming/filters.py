"""What a captured frame passes before it is judged: the region, the frame's health, the trigger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_ad.streaming.frame import Frame

__all__ = ["FilterOptions", "FrameFilter"]


class _Region(Protocol):
    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]: ...


class _Health(Protocol):
    def check(self, image: NDArray[np.uint8]) -> str | None: ...


class _Trigger(Protocol):
    def fires(self, frame: Frame) -> bool: ...


@dataclass(frozen=True)
class FilterOptions:
    """What every source's frames pass.

    Attributes:
        region: Part of the frame that is judged; None for all of it.
        make_health: Makes the check of one source's frames (it remembers the frame before); None for no check.
        make_trigger: Makes the trigger of one source; None to judge every frame.
    """

    region: _Region | None = None
    make_health: Callable[[], _Health] | None = None
    make_trigger: Callable[[], _Trigger] | None = None


class FrameFilter:
    """The filters of one source.

    Args:
        options: What to make.
    """

    def __init__(self, options: FilterOptions) -> None:
        self._region = options.region
        self._health = options.make_health() if options.make_health else None
        self._trigger = options.make_trigger() if options.make_trigger else None

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part that is judged: a view, no copy."""
        return image if self._region is None else self._region.crop(image)

    def reason(self, frame: Frame) -> str | None:
        """Why a frame is not to be judged; None when it is."""
        unhealthy = None if self._health is None else self._health.check(frame.image)
        if unhealthy is not None:
            return unhealthy
        return None if self._trigger is None or self._trigger.fires(frame) else "not triggered"
