"""The bounded buffer: nobody waits for a thread that is gone."""

from __future__ import annotations

import threading
import time

import pytest

from edge_ad.streaming.buffers import Closed, FrameBuffer


def test_newest_item_is_kept_and_the_others_are_counted() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(1, keep_newest=True)
    for number in range(5):
        buffer.put(number)
    assert buffer.get() == 4
    assert buffer.dropped == 4


def test_blocking_buffer_loses_nothing_and_keeps_the_order() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(2)

    def produce() -> None:
        for number in range(100):
            buffer.put(number)
        buffer.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert [buffer.get(timeout=5) for _ in range(100)] == list(range(100))
    with pytest.raises(Closed):
        buffer.get(timeout=5)
    thread.join(5)
    assert buffer.dropped == 0


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
    assert 0.04 < time.perf_counter() - started < 2
