"""Runs sources into a photo recorder: what `edge-ad capture` does between its start and its summary."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from edge_ad.photo_spec import PhotoSpec
from edge_ad.streaming.capture import Capture, Closed, FairBuffer, FixedSetup
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions
from edge_ad.streaming.frame import Event, Frame
from edge_ad.streaming.loop import StopSignals
from edge_ad.streaming.losses import LossWatch, OutageWatch
from edge_ad.streaming.photo_recorder import PhotoRecorder, SavedPhoto
from edge_ad.streaming.pipeline import keeps_newest
from edge_ad.streaming.sources.base import Source
from edge_ad.streaming.statistics import FrameCounters

__all__ = ["Captured", "capture_photos"]

_POLL_S = 0.1
_JOIN_S = 1.0  # of a source that was told to end
_CAPACITY = 2


@dataclass(frozen=True)
class Captured:
    """What became of the frames.

    Attributes:
        ended_by: ``"end of source"``, ``"count"``, ``"max seconds"``, ``"interrupted"`` or ``"terminated"``.
        frames: Frames that the sources gave.
        not_saved: Reason → frames that were not saved.
    """

    ended_by: str
    frames: int
    not_saved: dict[str, int]


def capture_photos(
    sources: Sequence[Source],
    recorder: PhotoRecorder,
    *,
    filters: FilterOptions | None = None,
    photos: PhotoSpec | None = None,
    count: int | None = None,
    max_seconds: float | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    on_photo: Callable[[SavedPhoto], None] = lambda photo: None,
) -> Captured:
    """Save frames of sources until they end, enough are saved, the time is over, or a signal comes.

    Args:
        sources: Not open yet; opened and closed here. Of a live one the newest frame counts.
        recorder: Saves what is due.
        filters: Region, frame health and trigger; None takes every frame as it is.
        photos: What the photos of the product are like; frames of another shape are not saved. None takes any.
        count: End with so many photos; None for no limit.
        max_seconds: End after so long; None for no limit.
        on_event: Told of outages, losses and changes of the frames' size, in this thread.
        on_photo: Told of each photo that was saved.

    Raises:
        EdgeAdError: A source that cannot be opened or is lost for too long, or a photo that cannot be written; what was
            saved before stays.
    """
    filters, control = filters or FilterOptions(), StreamControl()
    trigger, cancels = filters.trigger, [source.cancel for source in sources]
    accounts = [FrameCounters(source) for source in sources]
    for source in sources:
        source.expect_bits(None if photos is None else photos.significant_bits, takes_8_bits=filters.takes_8_bits)
    with StopSignals() as signals, ExitStack() as stack:
        with signals.ending(cancels if trigger is None else [*cancels, trigger.cancel]):
            for source in sources:
                stack.enter_context(source)
            if trigger is not None:
                stack.enter_context(trigger)
        lanes = stack.enter_context(_Lanes(sources, accounts, filters, control, photos or PhotoSpec()))
        outages, losses = OutageWatch(sources, control), LossWatch(sources, trigger, control)
        give_up_at = None if max_seconds is None else time.perf_counter() + max_seconds
        ended_by = ""
        while not ended_by:
            ended_by = _reason_to_end(signals, recorder.count, count, give_up_at)
            frame = None if ended_by else lanes.next(_POLL_S)
            if isinstance(frame, Frame):
                photo = recorder.take(frame)
                if photo is not None:
                    on_photo(photo)
            elif lanes.is_over and not ended_by:
                ended_by = "end of source"
            outages.look()
            losses.look()
            for event in control.take_events():
                on_event(event)
        losses.look(is_last=True)
        for event in control.take_events():
            on_event(event)
    reasons = sum((account.unjudged for account in accounts), Counter(recorder.not_saved))
    return Captured(ended_by, sum(account.captured for account in accounts), dict(reasons))


def _reason_to_end(signals: StopSignals, saved: int, count: int | None, give_up_at: float | None) -> str:
    if signals.received is not None:
        return "interrupted" if signals.received is signal.SIGINT else "terminated"
    if count is not None and saved >= count:
        return "count"
    return "max seconds" if give_up_at is not None and time.perf_counter() >= give_up_at else ""


class _Lanes:
    """A capture thread for each source. A context manager; leaving it ends the threads."""

    def __init__(
        self,
        sources: Sequence[Source],
        accounts: Sequence[FrameCounters],
        filters: FilterOptions,
        control: StreamControl,
        photos: PhotoSpec,
    ) -> None:
        self.is_over = False
        self._sources = sources
        self._is_stopping = threading.Event()
        self._error: BaseException | None = None
        self._frames: FairBuffer[Frame] = FairBuffer(_CAPACITY, [keeps_newest(source, "auto") for source in sources])
        captures = [
            Capture(source, index, accounts[index], filters, control, self._is_stopping, FixedSetup(photos))
            for index, source in enumerate(sources)
        ]
        self._threads = [
            threading.Thread(
                target=self._run, args=(capture, accounts[lane], lane), name=f"capture-{lane}", daemon=True
            )
            for lane, capture in enumerate(captures)
        ]

    def __enter__(self) -> _Lanes:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_stopping.set()
        for source in self._sources:
            source.cancel()
        self._frames.abort()
        until = time.perf_counter() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.perf_counter()))

    def next(self, timeout: float) -> Frame | None:
        """The next frame; None when there is none in this time, or no more at all.

        Raises:
            Exception: Whatever ended a capture thread.
        """
        try:
            frames = self._frames.take(1, timeout)
        except Closed:
            self.is_over = True
            if self._error is not None:
                raise self._error from None
            return None
        return frames[0] if frames else None

    def _run(self, capture: Capture, counter: FrameCounters, lane: int) -> None:
        try:
            for item in capture.frames():
                if isinstance(item, Frame) and not item.problem:
                    self._frames.put(lane, item)
                elif isinstance(item, Frame):
                    counter.unjudged[item.problem] += 1
        except Closed:
            pass
        except BaseException as error:  # raised again by next
            self._error = self._error or error
            self._is_stopping.set()
            for source in self._sources:
                source.cancel()
        finally:
            self._frames.close(lane)
