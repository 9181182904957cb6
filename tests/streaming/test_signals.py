"""Which signals ask a stream to end, and how often they may come."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from edge_ad.streaming.loop import StopSignals

if sys.platform == "win32":
    pytest.skip("Windows has no SIGHUP", allow_module_level=True)


def test_a_terminal_may_hang_up_more_than_once() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with StopSignals() as signals:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == before


def test_the_first_signal_is_the_one_that_ended_the_stream() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is signal.SIGTERM


def test_under_nohup_a_stream_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
