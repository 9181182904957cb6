"""The capture stage: reads one source, numbers its frames and lets through those that are to be judged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from edge_ad.photo_spec import PhotoSpec
from edge_ad.streaming.accounts import SourceAccount
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions, FrameFilter
from edge_ad.streaming.frame import Frame, Unjudged
from edge_ad.streaming.frame_shape import FrameShape
from edge_ad.streaming.sources.base import Source

__all__ = ["Capture"]


class Capture:
    """Frames of one open source.

    Args:
        source: The source.
        index: Which of several, from 0.
        account: Counts what becomes of its frames.
        filters: What they pass.
        control: Says whether the stream is paused.
        is_stopping: Ends it.
        photos: What the photos were like that whoever judges now was trained on.

    Attributes:
        is_reading: Whether it waits for the source.
    """

    def __init__(
        self,
        source: Source,
        index: int,
        account: SourceAccount,
        filters: FilterOptions,
        control: StreamControl,
        is_stopping: threading.Event,
        photos: Callable[[], PhotoSpec] = PhotoSpec,
    ) -> None:
        self._source, self._index, self._account = source, index, account
        self._filter = FrameFilter(filters, source)
        self._shape = FrameShape(source.name, filters.region is not None, control.emit)
        self._control, self._is_stopping, self._photos = control, is_stopping, photos
        self.is_reading = False

    def frames(self) -> Iterator[Frame | Unjudged]:
        """Every frame until the source's end."""
        while not self._is_stopping.is_set():
            started = time.perf_counter()
            self.is_reading = True
            image = self._source.read()
            self.is_reading = False
            if image is None:
                return
            captured_at = time.perf_counter()
            problem = self._shape.size_problem(image.shape[:2])
            judged = image if problem else self._filter.crop(image)
            problem = problem or self._shape.shape_problem(judged.shape[:2], self._photos())
            frame = Frame(
                index=self._account.captured,
                image=judged,
                captured_at=captured_at,
                captured_unix=time.time(),
                capture_ms=(captured_at - started) * 1e3,
                source=self._source.name,
                source_index=self._index,
                path=self._source.path,
            )
            self._account.captured += 1
            reason = "paused" if self._control.is_paused else problem or self._filter.reason(frame)
            if reason is None:
                yield self._filter.named(frame)
            else:
                self._account.unjudged[reason] += 1
                yield Unjudged(frame, reason)
