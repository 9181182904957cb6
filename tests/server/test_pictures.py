"""Pictures of the page: drawn once, only while somebody watches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge_ad.prediction import Prediction
from edge_ad.server import pictures
from edge_ad.server.pictures import Picture, PictureThread, draw, encode, thumbnail
from edge_ad.server.state import PageState
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.frame import Frame, Result, Unjudged
from tests.server.live_page import judged, unjudged
from tests.streaming.results import wait_until


@pytest.fixture
def state() -> PageState:
    return PageState(StreamControl(1.0), "camera")


@pytest.fixture
def thread(state: PageState, monkeypatch: pytest.MonkeyPatch) -> Iterator[PictureThread]:
    """A thread that forgets no view because this one is kept waiting."""
    monkeypatch.setattr(pictures, "_WATCHED_S", 3600.0)
    thread = PictureThread(state, lambda: None)
    thread.start()
    yield thread
    thread.stop()


def _show(state: PageState, thread: PictureThread, result: Result) -> None:
    thread.note(state.add(result), result)


@pytest.mark.parametrize(
    ("size_hw", "drawn_hw"),
    [((720, 1280), (720, 1280)), ((1080, 1920), (720, 1280)), ((64, 64), (320, 320)), ((20, 1280), (20, 1280))],
)
def test_frame_has_the_size_of_a_page(size_hw: tuple[int, int], drawn_hw: tuple[int, int]) -> None:
    item = Unjudged(Frame(0, np.zeros((*size_hw, 3), np.uint8), 0.0, 0.0, 0.0), "paused")
    assert draw(item, is_plain=False).shape[:2] == drawn_hw


def test_defect_is_drawn_unless_the_frame_is_asked_for_without_it() -> None:
    result = judged(score=3.0)
    assert (draw(result, is_plain=True) == 90).all()
    assert (draw(result, is_plain=False) != 90).any()
    assert (draw(unjudged(0, "paused"), is_plain=False) == 90).all()
    assert (result.frame.image == 90).all()


@pytest.mark.parametrize("size_hw", [(400, 600), (1000, 100), (9, 900), (192, 296), (20, 20)])
def test_thumbnail_shows_the_whole_frame_in_its_shape(size_hw: tuple[int, int]) -> None:
    small = thumbnail(np.full((*size_hw, 3), 200, np.uint8))
    assert small.shape == (192, 296, 3)
    rows, columns = np.nonzero((small == 200).all(axis=2))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert height == 192 or width == 296
    assert abs(width * size_hw[0] / size_hw[1] - height) <= max(1.0, size_hw[0] / size_hw[1])
    assert abs((columns.min() + columns.max()) / 2 - 147.5) <= 0.5  # in the middle


def test_nothing_is_drawn_while_nobody_watches(
    state: PageState, thread: PictureThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(
        pictures, "draw", lambda item, *, is_plain: drawn.append(item.frame.index) or draw(item, is_plain=is_plain)
    )
    for number in range(20):
        _show(state, thread, judged(number))
        time.sleep(0.005)
    assert drawn == []
    wait_until(lambda: thread.newest(0, is_plain=False) is not None)
    assert drawn == [19]


def test_frame_is_drawn_once_for_all_and_no_more_often_than_a_page_shows(
    state: PageState, thread: PictureThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    monkeypatch.setattr(pictures, "encode", lambda image: encoded.append(0) or encode(image))
    started, numbers = time.monotonic(), itertools.count(1)

    def watch() -> bool:
        _show(state, thread, judged(next(numbers)))
        for _ in range(5):
            thread.newest(0, is_plain=False)
        return len(encoded) >= 6

    wait_until(watch)
    drawn = len(encoded)
    assert drawn <= (time.monotonic() - started) * 15 + 1
    assert drawn < next(numbers)


def test_nothing_newer_is_drawn_while_nobody_has_taken_the_newest(
    state: PageState, thread: PictureThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    monkeypatch.setattr(pictures, "encode", lambda image: encoded.append(0) or encode(image))
    _show(state, thread, judged(1))
    wait_until(lambda: thread.newest(0, is_plain=False) is not None)
    first = thread.newest(0, is_plain=False)
    assert first is not None
    for number in range(2, 30):
        _show(state, thread, judged(number))
        time.sleep(0.01)
    assert len(encoded) == 1
    wait_until(lambda: thread.newest(0, is_plain=False, after=first.serial) not in (None, first))
    assert len(encoded) == 2


def test_who_comes_late_gets_no_old_picture(
    state: PageState, thread: PictureThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_CURRENT_S", 0.0)
    _show(state, thread, judged(1))
    wait_until(lambda: thread.newest(0, is_plain=False) is not None)
    _show(state, thread, judged(2))
    found: list[Picture] = []

    def has_come() -> bool:
        found[:] = [picture] if (picture := thread.newest(0, is_plain=False)) is not None else []
        return bool(found)

    wait_until(has_come)
    assert found[0].serial == 2


def test_view_that_nobody_asks_for_is_forgotten(
    state: PageState, thread: PictureThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_WATCHED_S", 0.05)
    _show(state, thread, judged(1))
    wait_until(lambda: thread.newest(0, is_plain=True) is not None)
    time.sleep(0.1)
    _show(state, thread, judged(2))
    time.sleep(0.1)
    assert thread.newest(0, is_plain=True) is None  # not the old one


def test_find_gets_its_pictures_without_anybody_watching(state: PageState, thread: PictureThread) -> None:
    _show(state, thread, judged(1, 2.0))
    wait_until(lambda: bool(state.finds()))
    for kind, size_hw in (("thumbnail", (192, 296)), ("overlay", (480, 640)), ("plain", (480, 640))):
        jpeg = state.find_picture(1, kind)
        assert jpeg is not None
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape[:2] == size_hw


def test_frame_that_cannot_be_drawn_does_not_end_the_picture(
    state: PageState, thread: PictureThread, caplog: pytest.LogCaptureFixture
) -> None:
    thread.newest(0, is_plain=False)
    broken = replace(judged(1), prediction=Prediction(0.5, np.zeros((0, 0), np.float32)))
    _show(state, thread, broken)
    wait_until(lambda: "could not draw a frame" in caplog.text)
    _show(state, thread, judged(2))
    wait_until(lambda: thread.newest(0, is_plain=False) is not None)
