"""Frames as JPEG: drawn once for all viewers, in a separate thread, and only while somebody watches."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.heatmap import blend, contour
from edge_ad.server.state import PageState
from edge_ad.streaming.frame import Result, Unjudged

__all__ = ["Picture", "PictureThread", "draw", "encode", "thumbnail"]

_LOG = logging.getLogger(__name__)
_LONGEST_SIDE = 1280
_SMALLEST_SIDE = 320
_THUMBNAIL_WH = (296, 192)
_BAR_BGR = (11, 8, 5)  # the page's own colour behind pictures
_FPS = 15.0
_SENT_PER_SECOND = 60.0  # for all viewers together: with more than four, each gets fewer
_CURRENT_S = 0.15  # a new viewer gets no picture older than this where there is a newer frame
_WATCHED_S = 2.0  # a view is drawn for this long after the last request for it
_MOST_WAITING_FINDS = 4
_NICE = 10

_View = tuple[int, bool]  # index of the source, without the overlay


@dataclass(frozen=True)
class Picture:
    """A JPEG of a frame.

    Attributes:
        serial: Number of the frame in its source, as the page counts them.
        jpeg: The file.
        drawn_at: When it was drawn (`time.monotonic`).
    """

    serial: int
    jpeg: bytes
    drawn_at: float


def draw(item: Result | Unjudged, *, is_plain: bool) -> NDArray[np.uint8]:
    """A frame at the size of the page, with heat map and contour where it was judged and they are wanted.

    Returns:
        uint8 (h, w, 3) BGR; the longer side has at most 1280 pixels; the shorter one has at least 320 where that
        allows it.
    """
    image = _at_page_size(item.frame.image)
    if is_plain or isinstance(item, Unjudged) or not item.has_map:
        return image
    threshold, anomaly_map = item.verdict.threshold, item.prediction.anomaly_map
    return contour(blend(image, anomaly_map, threshold), anomaly_map, threshold)


def encode(image: NDArray[np.uint8], *, quality: int = 82) -> bytes:
    """A picture as JPEG."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def thumbnail(overlay: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The whole picture, small, between bars where its shape is another one.

    Args:
        overlay: uint8 (H, W, 3) BGR.

    Returns:
        uint8 (192, 296, 3) BGR.
    """
    height, width = overlay.shape[:2]
    scale = min(_THUMBNAIL_WH[0] / width, _THUMBNAIL_WH[1] / height)
    small_wh = max(1, round(scale * width)), max(1, round(scale * height))
    left, top = ((have - used) // 2 for have, used in zip(_THUMBNAIL_WH, small_wh, strict=True))
    found = np.full((_THUMBNAIL_WH[1], _THUMBNAIL_WH[0], 3), _BAR_BGR, np.uint8)
    found[top : top + small_wh[1], left : left + small_wh[0]] = cv2.resize(
        overlay, small_wh, interpolation=cv2.INTER_AREA
    )
    return found


class PictureThread:
    """Draws the views that somebody watches, and the finds. `start` and `stop` its thread.

    Args:
        state: Where the frames are, and where the pictures of finds go.
        on_picture: Called in this thread after every new picture of a view.

    Attributes:
        viewers: How many share the pictures per second.
    """

    def __init__(self, state: PageState, on_picture: Callable[[], None]) -> None:
        self.viewers = 1
        self._state = state
        self._on_picture = on_picture
        self._changed = threading.Condition()
        self._wanted: dict[_View, float] = {}  # view → until when
        self._awaited: set[_View] = set()  # those of them whose newest picture some viewer has already
        self._newest: dict[_View, Picture] = {}
        self._finds: OrderedDict[int, Result] = OrderedDict()
        self._is_stopping = False
        self._has_news = False
        self._thread = threading.Thread(target=self._run, name="stream-server-pictures", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def newest(self, index: int, *, is_plain: bool, after: int | None = None) -> Picture | None:
        """The newest picture of a view. Asking for it keeps the view drawn for two more seconds.

        Args:
            index: Of the source.
            is_plain: Without heat map and contour.
            after: Serial number of the one that the viewer has. Nothing newer is drawn until some viewer has the
                newest: a viewer that does not read causes no drawing.

        Returns:
            The picture, where it is current; None while one is being drawn.
        """
        view = (index, is_plain)
        with self._changed:
            picture = self._newest.get(view)
            self._wanted[view] = time.monotonic() + _WATCHED_S
            if picture is not None and picture.serial != after and self._is_current(picture, index):
                return picture
            if view not in self._awaited:
                self._awaited.add(view)
                self._tell()
            return picture if picture is not None and picture.serial == after else None

    def _is_current(self, picture: Picture, index: int) -> bool:
        if time.monotonic() - picture.drawn_at < _CURRENT_S:
            return True
        found = self._state.picture(index)
        return found is None or found[1] == picture.serial

    def note(self, find: int | None, result: Result | None) -> None:
        """Announce a new frame, and the find it should be drawn for; returns at once."""
        with self._changed:
            if find is not None and result is not None:
                self._finds[find] = result
                while len(self._finds) > _MOST_WAITING_FINDS:
                    self._finds.popitem(last=False)
            if self._awaited or self._finds:
                self._tell()

    def _tell(self) -> None:
        self._has_news = True
        self._changed.notify()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # where the system does not support it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_news or self._is_stopping)
                if self._is_stopping:
                    return
                self._has_news = False
                views, finds = self._take()
            started = time.monotonic()
            try:
                self._draw_finds(finds)
                self._draw_views(views)
            except Exception:  # one frame that cannot be drawn must not stop the later ones
                _LOG.exception("The live page could not draw a frame")
            self._rest(started + max(1 / _FPS, self.viewers / _SENT_PER_SECOND))

    def _take(self) -> tuple[list[_View], OrderedDict[int, Result]]:
        now = time.monotonic()
        for view in [view for view, until in self._wanted.items() if until < now]:
            del self._wanted[view]
            self._awaited.discard(view)
            self._newest.pop(view, None)  # a viewer that returns later must not see an old frame
        finds, self._finds = self._finds, OrderedDict()
        return list(self._awaited), finds

    def _draw_views(self, views: list[_View]) -> None:
        is_new = False
        for index, is_plain in views:
            found = self._state.picture(index)
            old = self._newest.get((index, is_plain))
            if found is None or (old is not None and old.serial == found[1]):
                continue
            picture = Picture(found[1], encode(draw(found[0], is_plain=is_plain)), time.monotonic())
            with self._changed:
                self._newest[index, is_plain] = picture
                self._awaited.discard((index, is_plain))
            is_new = True
        if is_new:
            self._on_picture()

    def _draw_finds(self, finds: OrderedDict[int, Result]) -> None:
        for number, result in finds.items():
            overlay = draw(result, is_plain=False)
            pictures = {
                "thumbnail": encode(thumbnail(overlay), quality=78),
                "overlay": encode(overlay),
                "plain": encode(draw(result, is_plain=True)),
            }
            self._state.show_find(number, pictures)

    def _rest(self, until: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping, until - time.monotonic())


def _at_page_size(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    longest, shortest = max(image.shape[:2]), min(image.shape[:2])
    if longest > _LONGEST_SIDE:
        return _scaled(image, _LONGEST_SIDE / longest)
    factor = math.ceil(_SMALLEST_SIDE / shortest)
    return _scaled(image, float(factor)) if factor > 1 and factor * longest <= _LONGEST_SIDE else image


def _scaled(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    if factor == 1.0:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)
