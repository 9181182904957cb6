"""What a captured frame passes before it is judged: the region, the frame's health, the trigger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_ad.outside_text import storable
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.region import Region
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.triggers import Trigger

__all__ = ["FilterOptions", "FrameFilter"]


class _Health(Protocol):
    def check(self, image: NDArray[np.uint8]) -> str | None: ...


@dataclass(frozen=True)
class FilterOptions:
    """What every source's frames pass, in this order.

    Attributes:
        region: Part of the frame that is judged; None for all of it.
        make_health: Makes the check of one source's frames, which remembers the frame before; None for no check.
        trigger: Chooses the frames that are judged, for all sources; None to judge every frame.
        takes_8_bits: Whether frames of 8 bits are judged by a bundle of photos of more.
    """

    region: Region | None = None
    make_health: Callable[[Source], _Health] | None = None
    trigger: Trigger | None = None
    takes_8_bits: bool = False


class FrameFilter:
    """The filters of one source.

    Args:
        options: What to make.
        source: The source.
    """

    def __init__(self, options: FilterOptions, source: Source) -> None:
        self._region, self._trigger = options.region, options.trigger
        self._health = options.make_health(source) if options.make_health else None

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part that is judged: a view, no copy."""
        return image if self._region is None else self._region.crop(image)

    def reason(self, frame: Frame) -> str | None:
        """Why a frame is not to be judged; None when it is."""
        unhealthy = None if self._health is None else self._health.check(frame.image)
        if unhealthy is not None:
            return unhealthy
        return None if self._trigger is None or self._trigger.fires(frame) else "not triggered"

    def named(self, frame: Frame) -> Frame:
        """A frame that is to be judged, with what the trigger calls its part."""
        part = "" if self._trigger is None else storable(self._trigger.part_of(frame))
        return replace(frame, part=part) if part else frame
