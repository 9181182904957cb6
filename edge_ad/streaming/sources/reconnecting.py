"""A live source that reconnects: polls for its return and records how long it was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError
from edge_ad.streaming.sources.base import CameraSettings, Source

__all__ = ["ReconnectingSource"]

# Short enough to read a source again within 2 s of its return, even if one attempt times out in between.
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 0.5


class ReconnectingSource(Source):
    """Reads a live source and, when it is lost, tries to open it until it answers.

    Args:
        source: The live source. It must answer when the stream starts: only later outages are waited for.
        max_outage_s: Longest outage to wait for, in seconds; None waits for ever.
    """

    def __init__(self, source: Source, *, max_outage_s: float | None = None) -> None:
        super().__init__(source.name, is_live=True)
        self._source = source
        self._max_outage_s = max_outage_s
        self._cancelled = threading.Event()
        self._last_frame_at = time.perf_counter()
        self.notes, self.corrupt_names = source.notes, source.corrupt_names

    def rename(self, name: str) -> None:
        """Set the name, for the source too, whose messages are shown."""
        super().rename(name)
        self._source.rename(name)

    @property
    def fps(self) -> float | None:
        """Frames per second that the source names."""
        return self._source.fps

    @property
    def is_triggered(self) -> bool:
        """As the source says."""
        return self._source.is_triggered

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Ask the source whether it gives them."""
        self._source.expect_bits(significant_bits, takes_8_bits=takes_8_bits)

    def change(self, settings: CameraSettings) -> Callable[[], None]:
        """Have the source take other settings."""
        return self._source.change(settings)

    def open(self) -> None:
        """Open the source."""
        self._source.open()
        self._last_frame_at = time.perf_counter()
        self._take_counts()

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, waiting for the source's return; None when cancelled.

        Raises:
            DeviceError: The outage is longer than allowed.
        """
        try:
            image = self._source.read()
            if image is None and not self._cancelled.is_set():
                image = self._wait_for_return()
        finally:
            self._take_counts()
        self._last_frame_at = time.perf_counter()
        return image

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def cancel(self) -> None:
        """Stop waiting for the source's return."""
        self._cancelled.set()
        self._source.cancel()

    def _wait_for_return(self) -> NDArray[np.uint8] | None:
        pause_s, image = _FIRST_PAUSE_S, None
        self.gaps.begin()
        try:
            while image is None and not self._cancelled.wait(pause_s):
                self._check_outage()
                image = self._reopen()
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            outage_s = self._outage_s()
            self.gaps.add(time.time() - outage_s, outage_s, reconnected=image is not None)
        return image

    def _reopen(self) -> NDArray[np.uint8] | None:
        """Its first frame, or None while it is lost: a connection without a frame is not a return."""
        self._source.close()
        try:
            self._source.open()
        except DeviceError:
            return None
        return self._source.read()

    def _check_outage(self) -> None:
        limit_s = self._max_outage_s
        if limit_s is not None and self._outage_s() > limit_s:
            raise DeviceError(
                f"{self.name} has been gone for {self._outage_s():.1f} s; the limit is {limit_s:g} s.",
                "Check the camera and its cable, or give a longer --max-outage.",
            )

    def _take_counts(self) -> None:
        source = self._source
        self.source_count, self.missed = source.source_count, source.missed
        self.duplicates, self.corrupt, self.path = source.duplicates, source.corrupt, source.path

    def _outage_s(self) -> float:
        return time.perf_counter() - self._last_frame_at
