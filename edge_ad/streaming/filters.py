"""Filters of frames before they are judged: region, health, shape and trigger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.outside_text import storable
from edge_ad.photo_spec import PhotoSpec
from edge_ad.streaming.frame import Event, Frame
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.triggers import Trigger

__all__ = [
    "BLACK_LEVEL",
    "BLACK_SHARE",
    "BRIGHT_LEVEL",
    "BRIGHT_SHARE",
    "FROZEN_FRAMES",
    "FROZEN_SECONDS",
    "AnyRegion",
    "FilterOptions",
    "FrameFilter",
    "FrameHealth",
    "FrameShape",
    "Region",
    "RegionOfShares",
    "parse_region",
]

BLACK_LEVEL = 24  # of 255: above the noise of a covered sensor, below any lit part
BLACK_SHARE = 0.995  # a part on a black background is not a black frame
BRIGHT_LEVEL = 250
BRIGHT_SHARE = 0.98  # a part before a back light is not an over-exposed frame
FROZEN_FRAMES = 5
FROZEN_SECONDS = 1.0  # a codec may repeat a still scene for some frames; a working sensor never repeats for this long
_STEP = 24  # every 24th pixel both ways: 1620 of 1280×720
_STEADY_FRAMES = 5
_Size = tuple[int, int]  # height and width, in pixels


@dataclass(frozen=True)
class Region:
    """A rectangle of a frame.

    Attributes:
        x: Left edge, in pixels from the left.
        y: Upper edge, in pixels from the top.
        width: In pixels.
        height: In pixels.
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``x,y,w,h``, in pixels.

        Raises:
            UsageError: Not four numbers, a negative corner, or nothing inside.
        """
        try:
            x, y, width, height = (int(number) for number in text.split(","))
        except ValueError:
            raise UsageError(f"{text} is not a region.", "Write x,y,width,height in pixels: 320,180,640,360.") from None
        if min(x, y) < 0 or min(width, height) < 1:
            raise UsageError(f"The region {text} has no pixels in a frame.", "x and y from 0, width and height from 1.")
        return cls(x, y, width, height)

    def is_inside(self, size_hw: _Size) -> bool:
        """Whether a frame of this height and width has all of it."""
        return self.x + self.width <= size_hw[1] and self.y + self.height <= size_hw[0]

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region of a frame.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            uint8 (height, width, 3): a view, no copy.

        Raises:
            UsageError: The frame is too small for it; judging only a part of it would go unnoticed.
        """
        height, width = image.shape[:2]
        if not self.is_inside((height, width)):
            raise UsageError(
                f"The region {self.x},{self.y},{self.width},{self.height} reaches beyond the frame.",
                f"The frame has {width}×{height} pixels.",
            )
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class RegionOfShares:
    """A rectangle of a frame, whatever the frame's size.

    Attributes:
        x: Left edge, as a share of the frame's width, in [0, 1).
        y: Upper edge, as a share of its height, in [0, 1).
        width: As a share of its width, in (0, 1].
        height: As a share of its height, in (0, 1].
    """

    x: float
    y: float
    width: float
    height: float

    def in_pixels(self, size_hw: _Size) -> Region:
        """The region of a frame of this height and width; at least one pixel."""
        height, width = size_hw
        left, top = int(self.x * width), int(self.y * height)
        right, bottom = round((self.x + self.width) * width), round((self.y + self.height) * height)
        return Region(left, top, max(1, min(right, width) - left), max(1, min(bottom, height) - top))

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region of a frame, uint8 (H, W, 3): a view, no copy."""
        return self.in_pixels((image.shape[0], image.shape[1])).crop(image)


AnyRegion: TypeAlias = Region | RegionOfShares


def parse_region(text: str) -> AnyRegion:
    """Read ``x,y,w,h``, in pixels, or ``x%,y%,w%,h%`` of the frame.

    Raises:
        UsageError: Neither, or nothing of a frame is inside.
    """
    if "%" not in text:
        return Region.parse(text)
    hint = "Write x,y,width,height of the frame: 10%,10%,80%,80%."
    parts = [part.strip() for part in text.split(",")]
    try:
        x, y, width, height = (float(part.removesuffix("%")) / 100 for part in parts)
    except ValueError:
        raise UsageError(f"{text} is not a region.", hint) from None
    is_inside = all(0 <= at < 1 and size > 0 and at + size <= 1 + 1e-9 for at, size in ((x, width), (y, height)))
    if not all(part.endswith("%") for part in parts) or not is_inside:
        raise UsageError(f"The region {text} is not inside a frame.", hint)
    return RegionOfShares(x, y, width, height)


class FrameHealth:
    """Checks the frames of one source in their order, each on its own, without hysteresis.

    Args:
        can_freeze: Whether equal frames are a fault. The noise of a sensor makes exact repeats of a live camera
            impossible; a file may hold them, so say False there.
        frozen_frames: A picture is frozen after this many repeats of a frame
        frozen_seconds: that last at least this long.
        black_share: Share of pixels up to `BLACK_LEVEL` in all channels from which a frame is black.
        bright_share: Share of pixels from `BRIGHT_LEVEL` in all channels from which a frame is over-exposed.
        clock: Monotonic time, in seconds.
    """

    def __init__(
        self,
        *,
        can_freeze: bool,
        frozen_frames: int = FROZEN_FRAMES,
        frozen_seconds: float = FROZEN_SECONDS,
        black_share: float = BLACK_SHARE,
        bright_share: float = BRIGHT_SHARE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._can_freeze = can_freeze
        self._frozen_frames, self._frozen_seconds = frozen_frames, frozen_seconds
        self._black_share, self._bright_share = black_share, bright_share
        self._clock = clock
        self._before: NDArray[np.uint8] | None = None
        self._repeats, self._since = 0, 0.0

    def check(self, image: NDArray[np.uint8]) -> str | None:
        """Why a frame cannot be judged.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            ``"black"``, ``"over-exposed"`` or ``"frozen"``; None for a frame that can be judged.
        """
        sample = np.ascontiguousarray(image[::_STEP, ::_STEP])
        is_frozen = self._can_freeze and self._is_frozen(sample)
        blue, green, red = (sample[..., channel] for channel in range(3))
        # sample.max(axis=2) takes twenty times as long over an axis of three.
        if _share(np.maximum(np.maximum(blue, green), red) <= BLACK_LEVEL) >= self._black_share:
            return "black"
        if _share(np.minimum(np.minimum(blue, green), red) >= BRIGHT_LEVEL) >= self._bright_share:
            return "over-exposed"
        return "frozen" if is_frozen else None

    def _is_frozen(self, sample: NDArray[np.uint8]) -> bool:
        now = self._clock()
        if self._before is not None and np.array_equal(sample, self._before):
            self._repeats += 1
        else:
            self._before, self._repeats, self._since = sample, 0, now
        return self._repeats >= self._frozen_frames and now - self._since >= self._frozen_seconds


def _share(is_so: NDArray[np.bool_]) -> float:
    return np.count_nonzero(is_so) / is_so.size


class FrameShape:
    """Compares the frames of one source with its first one, and with the photos that were trained on.

    Args:
        source: Name of the source, for the events.
        emit: Takes the events ``"frame size"`` and ``"another shape"``. A change of size is told when it is the first,
            when the size before had lasted for five frames, or when it changes whether frames are judged: photos of a
            folder may each have a size of their own.
    """

    def __init__(self, source: str, emit: Callable[[Event], None]) -> None:
        self._source, self._emit = source, emit
        self._region: AnyRegion | None = None
        self._is_switched = False
        self._first: _Size | None = None
        self._last: _Size | None = None
        self._lasted = 0
        self._has_changed = self._was_other = False
        self._told = ""

    @property
    def newest_size_hw(self) -> tuple[int, int] | None:
        """Height and width of the newest frame, in pixels; None before the first."""
        return self._last

    def size_problem(self, size_hw: _Size, region: AnyRegion | None, *, is_switched: bool = False) -> str:
        """Note the size of a frame.

        Args:
            size_hw: Height and width of the whole frame, in pixels.
            region: Part of it that is judged; in pixels, it was given for frames of the size that came first with it.
            is_switched: Whether it is not what the stream began with; one that no frame holds is not judged then, where
                it would end a stream at its start.

        Returns:
            ``"another size"`` where the region was given for frames of another size; else nothing.
        """
        before, self._last = self._last, size_hw
        if self._first is None or region != self._region:
            self._is_switched = is_switched or self._first is not None
            self._first, self._region = size_hw, region
        is_other = isinstance(region, Region) and (
            size_hw != self._first or (self._is_switched and not region.is_inside(size_hw))
        )
        if before is None and is_other:
            text = f"The frames are {_words(size_hw)}, and the region of the recipe reaches beyond: not judged."
            self._tell("frame size", text, {"old": "", "new": _words(size_hw)})
        if before is not None and before != size_hw:
            if not self._has_changed or self._lasted >= _STEADY_FRAMES or is_other != self._was_other:
                self._tell_change(before, size_hw, is_other=is_other)
            self._lasted, self._has_changed = 0, True
        self._lasted, self._was_other = self._lasted + 1, is_other
        return "another size" if is_other else ""

    def _tell_change(self, before: _Size, now: _Size, *, is_other: bool) -> None:
        old, new = _words(before), _words(now)
        more = f"; the region was given for {_words(self._first or now)}: not judged" if is_other else ""
        self._tell("frame size", f"The frames were {old} and are {new} now{more}.", {"old": old, "new": new})

    def shape_problem(self, size_hw: _Size, photos: PhotoSpec) -> str:
        """Compare what is judged of a frame with the photos that were trained on.

        Args:
            size_hw: Height and width of it, in pixels.
            photos: What they were like.

        Returns:
            ``"another shape"``, or nothing.
        """
        problem = photos.shape_problem(*size_hw)
        if problem and problem != self._told:
            self._tell("another shape", f"Not judged: {problem}.", {"size": _words(size_hw)})
        self._told = problem
        return "another shape" if problem else ""

    def _tell(self, kind: str, text: str, data: dict[str, str]) -> None:
        self._emit(Event(kind, time.time(), self._source, text, dict(data)))


def _words(size_hw: _Size) -> str:
    return f"{size_hw[1]}×{size_hw[0]}"


class _Health(Protocol):
    def check(self, image: NDArray[np.uint8]) -> str | None: ...


@dataclass(frozen=True)
class FilterOptions:
    """Options of the filters, in the order in which frames pass them.

    Attributes:
        region: Part of the frame that is judged; None for all of it.
        make_health: Makes the check for one source, which remembers its previous frame; None for no check.
        trigger: Chooses the frames that are judged, for all sources; None to judge every frame.
        takes_8_bits: Whether to judge frames of 8 bits with a bundle whose photos have more.
    """

    region: AnyRegion | None = None
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
        self._trigger = options.trigger
        self._health = options.make_health(source) if options.make_health else None

    def reason(self, frame: Frame) -> str | None:
        """Why a frame is not to be judged; None when it is."""
        unhealthy = None if self._health is None else self._health.check(frame.image)
        if unhealthy is not None:
            return unhealthy
        return None if self._trigger is None or self._trigger.fires(frame) else "not triggered"

    def is_asked_for(self, frame: Frame) -> bool:
        """Whether somebody asks for a part by the trigger, and this frame is the one for it; it then fires for it."""
        return self._trigger is not None and self._trigger.gives_ids and self._trigger.fires(frame)

    def named(self, frame: Frame) -> Frame:
        """A frame that the trigger has fired for, with what it calls its part; any frame where there is no trigger."""
        if self._trigger is None:
            return frame
        part = storable(self._trigger.part_of(frame))
        return replace(frame, part=part, is_due=self._trigger.gives_ids or bool(part))
