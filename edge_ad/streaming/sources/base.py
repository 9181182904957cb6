"""The Source contract."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import UsageError
from edge_ad.masked_address import masked_address
from edge_ad.outside_text import storable
from edge_ad.streaming.losses import GapLog

__all__ = ["CameraSettings", "FrameNumbers", "Pacer", "Source", "file_path"]

_MOST_NOTES = 100  # a stream runs for months: newer entries replace those that nobody has taken
_GIGE_NUMBERS = 65535  # GigE Vision's 16-bit numbers go from 1 to here and start again at 1
_WRAPS_ABOVE = 60000
_MOST_LATE = 32  # a driver that waits for lost packets of one frame gives later ones first


@dataclass(frozen=True)
class CameraSettings:
    """Settings that some cameras take while they run; None for what is left as it is.

    Attributes:
        exposure_us: Exposure time in microseconds.
        gain: In the camera's own unit.
    """

    exposure_us: float | None = None
    gain: float | None = None


class Source(ABC):
    """A sequence of frames. A context manager: entering opens it.

    Args:
        name: What it is, for messages and records. Addresses in it are masked, and bytes of a path that are not
            UTF-8 are escaped.
        is_live: Whether frames come by the clock, so that one not taken in time is lost.

    Attributes:
        path: File of the frame that `read` gave last, absolute, as it was when it was read; empty for a camera.
        gaps: The outages of a live source.
        source_count: Frames the source itself says it produced; None when it does not number them. Of a source that
            does, ``source_count`` is the frames that were read + duplicates + corrupt + missed.
        duplicates: Frames it delivered twice; `read` gives them once.
        corrupt: Frames that arrived damaged; `read` skips them.
        corrupt_names: The newest of them, oldest first, where they have a name, that of a file. Whoever tells them
            takes them out, as ``notes``.
        missed: Frames that it numbered and that never arrived.
        shortage: What a file lacks at its end, in words that follow its name; empty where nothing is known to be.
        notes: One-line remarks for the user, oldest first: a setting the camera did not take, an image that cannot be
            decoded. Whoever shows them takes them out (``popleft``); any thread may.
    """

    def __init__(self, name: str, *, is_live: bool) -> None:
        self.name = storable(masked_address(name) if "://" in name else name)
        self.path = ""
        self.is_live = is_live
        self.gaps = GapLog()
        self.source_count: int | None = None
        self.duplicates = 0
        self.corrupt = 0
        self.corrupt_names: deque[str] = deque(maxlen=_MOST_NOTES)
        self.missed = 0
        self.shortage = ""
        self.notes: deque[str] = deque(maxlen=_MOST_NOTES)

    def __enter__(self) -> Source:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def rename(self, name: str) -> None:
        """Set a name that the user chose, before it is opened; it replaces the address in every output.

        Args:
            name: Such as ``"front"``.
        """
        self.name = name

    @property
    def fps(self) -> float | None:
        """Frames per second according to the source; None where it gives no plausible number."""
        return None

    @property
    def is_triggered(self) -> bool:
        """Whether a part on the line starts each exposure: a frame that cannot be judged is a part all the same.

        Known once it is open.
        """
        return False

    def expect_bits(self, significant_bits: int | None, *, takes_8_bits: bool) -> None:
        """Note the depth of the photos that were trained on; called before `open`.

        Args:
            significant_bits: Their significant bits; None where they are unknown.
            takes_8_bits: Whether frames of 8 bits are judged anyway.

        Raises:
            UsageError: The source gives frames of 8 bits, and they used more.
        """
        if significant_bits not in (None, 8) and not takes_8_bits:
            raise UsageError(
                f"The photos that were trained on use {significant_bits} bits, and {self.name} gives 8.",
                "Train on photos of this source, or judge its frames anyway with --allow-8-bit.",
            )

    def change(self, settings: CameraSettings) -> Callable[[], None]:
        """Take other settings while it is open; may be called while another thread reads.

        Returns:
            What sets it back to those that it had; it raises a DeviceError where it does not answer.

        Raises:
            UsageError: It cannot, or not with these values; it goes on with those it had.
        """
        if settings != CameraSettings():
            message = f"{self.name} takes no exposure or gain while it runs."
            raise UsageError(message, "Give it by the command line, the same for every recipe.")
        return lambda: None

    @abstractmethod
    def open(self) -> None:
        """Get ready to read.

        Raises:
            DataError: A file that is missing or cannot be read.
            DeviceError: A camera or stream that does not answer.
        """

    @abstractmethod
    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, uint8 (H, W, 3) BGR, owned by the caller; None at the end (or when a live source is gone)."""

    @abstractmethod
    def close(self) -> None:
        """Release it; may be called when it is not open."""

    def cancel(self) -> None:  # noqa: B027 - most sources never wait for long
        """Called from another thread: an `open` or a `read` that waits gives up, and no later one waits."""


def file_path(path: str | Path) -> str:
    """The path of a file as records have it: absolute, links not followed, bytes that are not UTF-8 escaped."""
    return storable(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


class FrameNumbers:
    """Counts over all connections of a camera; frames during an outage are not counted here.

    Attributes:
        count: Frames the camera made; None before the first.
        missed: How many of them never came.
    """

    def __init__(self) -> None:
        self.count: int | None = None
        self.missed = 0
        self._last: int | None = None
        self._passed: deque[int] = deque(maxlen=_MOST_LATE)  # numbers that may still come

    def see(self, number: int) -> None:
        """Take the number of a frame that came; one that comes after its successors is no longer missed."""
        if number in self._passed:
            self._passed.remove(number)
            self.missed -= 1
            return
        step = 1 if self._last is None else number - self._last
        if step <= 0 and self._last is not None:
            # Smaller than the last: 16-bit numbers wrapped around, or the camera restarted.
            is_wrapped = _WRAPS_ABOVE < self._last <= _GIGE_NUMBERS
            step = max(step + _GIGE_NUMBERS, 1) if is_wrapped else 1  # some cameras wrap to 0
        for passed in range(number - min(step, _MOST_LATE) + 1, number):
            self._passed.append(passed if passed > 0 else passed + _GIGE_NUMBERS)
        self._last = number
        self.add(skipped=step - 1)

    def see_unnumbered(self, *, is_missed: bool = False) -> None:
        """Take a frame that came without its number: the one after the last.

        Args:
            is_missed: Whether nobody fetched it.
        """
        self.add(skipped=0)
        self.missed += is_missed
        self._last = None if self._last is None else self._last + 1

    def add(self, *, skipped: int) -> None:
        """Take a frame that came after some missing ones."""
        self.count = (self.count or 0) + 1 + skipped
        self.missed += skipped

    def restart(self) -> None:
        """The next number is the first of a new connection."""
        self._last = None
        self._passed.clear()


class Pacer:
    """Waits until the next frame is due.

    Args:
        interval_s: Time from frame to frame, in seconds.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due_at: float | None = None

    def wait(self, cancelled: threading.Event) -> None:
        """Return when the next frame is due, or at once when cancelled.

        It follows the clock instead of adding pauses, so that the rate is exact; a reader that fell behind by more than
        a frame does not catch up.
        """
        now = time.perf_counter()
        due_at = now if self._due_at is None else max(self._due_at + self._interval_s, now - self._interval_s)
        self._due_at = due_at
        if due_at > now:
            cancelled.wait(due_at - now)
