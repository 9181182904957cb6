"""Whether a frame can be judged at all: a black, over-exposed or frozen picture says nothing about the part."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLACK_LEVEL",
    "BLACK_SHARE",
    "BRIGHT_LEVEL",
    "BRIGHT_SHARE",
    "FROZEN_FRAMES",
    "FROZEN_SECONDS",
    "FrameHealth",
]

BLACK_LEVEL = 24  # of 255: above the noise of a covered sensor, below any lit part
BLACK_SHARE = 0.995  # a black background with a part on it is no black frame
BRIGHT_LEVEL = 250
BRIGHT_SHARE = 0.98  # a back light with a part before it is no over-exposed frame
FROZEN_FRAMES = 5
FROZEN_SECONDS = 1.0  # a codec may repeat a still scene for some frames, an operating sensor never for so long
_STEP = 24  # every 24th pixel both ways: 1620 of 1280×720


class FrameHealth:
    """Checks the frames of one source, in their order, each by itself: no hysteresis.

    Args:
        can_freeze: Whether equal frames are a fault. The noise of a sensor makes exact repeats of a live camera
            impossible; a file may hold them, so say False there.
        frozen_frames: So many equal frames after the first one, and
        frozen_seconds: for so long, are a frozen picture.
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
        """Say why a frame cannot be judged.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            ``"black"``, ``"over-exposed"`` or ``"frozen"``; None for a frame that can be judged.
        """
        sample = np.ascontiguousarray(image[::_STEP, ::_STEP])
        is_frozen = self._can_freeze and self._is_frozen(sample)
        blue, green, red = (sample[..., channel] for channel in range(3))
        # Not sample.max(axis=2): over an axis of three, numpy takes twenty times as long.
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
