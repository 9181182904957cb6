"""The bounded buffer: nobody waits for a thread that is gone."""

from __future__ import annotations

import threading
import time

import pytest

from edge_ad.streaming.capture import Closed, FairBuffer, FrameBuffer


def test_newest_item_of_a_lane_is_kept_and_the_others_are_counted() -> None:
    buffer: FairBuffer[int] = FairBuffer(2, keep_newest=[True])
    for number in range(5):
        buffer.put(0, number)
    assert buffer.take(9) == [4]
    assert buffer.dropped(0) == 4


def test_lanes_are_taken_from_in_turns() -> None:
    buffer: FairBuffer[str] = FairBuffer(3, keep_newest=[False, False, False])
    for item in ("a1", "a2", "a3"):
        buffer.put(0, item)
    buffer.put(2, "c1")
    assert buffer.take(1) == ["a1"]
    buffer.put(1, "b1")
    assert buffer.take(2) == ["b1", "c1"]
    assert buffer.take(9, timeout=0.01) == ["a2", "a3"]
    assert buffer.take(9, timeout=0.01) == []


def test_lanes_end_one_by_one_and_what_is_inside_comes_first() -> None:
    buffer: FairBuffer[int] = FairBuffer(2, keep_newest=[False, True])
    buffer.put(1, 7)
    buffer.close(0)
    buffer.close(1)
    with pytest.raises(Closed):
        buffer.put(0, 1)
    assert buffer.take() == [7]
    with pytest.raises(Closed):
        buffer.take()


def test_aborted_lane_turns_a_waiting_producer_away() -> None:
    buffer: FairBuffer[int] = FairBuffer(1, keep_newest=[False])
    buffer.put(0, 1)
    threading.Timer(0.05, buffer.abort).start()
    with pytest.raises(Closed):
        buffer.put(0, 2)


def test_offer_never_waits() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(1)
    assert [buffer.offer(1), buffer.offer(2), buffer.offer(3, limit=2)] == [True, False, True]
    assert buffer.put(4, timeout=0.01) is False
    assert len(buffer) == 2


def test_blocking_buffer_loses_nothing_and_keeps_the_order() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(2)

    def produce() -> None:
        for number in range(100):
            buffer.put(number)
        buffer.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert [buffer.get(timeout=60) for _ in range(100)] == list(range(100))
    with pytest.raises(Closed):
        buffer.get(timeout=60)
    thread.join()


def test_closed_buffer_gives_what_is_inside_first() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(2)
    buffer.put(1)
    buffer.close()
    assert buffer.get() == 1
    with pytest.raises(Closed):
        buffer.get()
    with pytest.raises(Closed):
        buffer.put(2)


def test_abort_wakes_a_producer_that_waits() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(1)
    buffer.put(1)
    threading.Timer(0.05, buffer.abort).start()
    with pytest.raises(Closed):
        buffer.put(2)


def test_get_gives_none_when_the_time_is_over() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(1)
    started = time.perf_counter()
    assert buffer.get(timeout=0.05) is None
    assert time.perf_counter() - started >= 0.05
