"""Engines are closed by other threads than those that opened them, and in any order; signals go on to work."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge_ad.bundle import Bundle

_BACKENDS = ("openvino", "onnxruntime")

# In a process of its own: what a signal does to this one would be the end of the tests.
_START = """
import os, signal, sys, threading
from pathlib import Path
import numpy as np
from edge_ad.bundle import Bundle
from edge_ad.runtime import open_engine

bundle = Bundle.open(Path(sys.argv[1]))
frame = np.zeros((1, *bundle.manifest.input_size_hw, 3), np.uint8)


def opened():
    engine = open_engine(bundle, backend=sys.argv[2], threads=1)
    engine.__enter__()
    engine.infer(frame)
    list(engine.infer_many([frame] * 5))
    return engine


def close(engine):
    engine.__exit__(None, None, None)
"""
_CLOSED_ELSEWHERE = """
first = opened()
thread = threading.Thread(target=close, args=(first,))
thread.start()
thread.join()
"""
_CLOSED_ELSEWHERE_WITH_FRAMES_UNDER_WAY = """
first = opened()
predictions = first.infer_many([frame] * 50)
next(predictions)
predictions.close()
thread = threading.Thread(target=close, args=(first,))
thread.start()
thread.join()
"""
_OPENED_ELSEWHERE = """
engines = []
for _ in range(3):
    thread = threading.Thread(target=lambda: engines.append(opened()))
    thread.start()
    thread.join()
    close(engines[-1])
"""
_FIRST_CLOSED_FIRST = """
first = opened()
second = opened()
close(first)
close(second)
"""
_END = """
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
for _ in range(3):
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize("backend", _BACKENDS)
@pytest.mark.parametrize(
    "closing",
    [_CLOSED_ELSEWHERE, _CLOSED_ELSEWHERE_WITH_FRAMES_UNDER_WAY, _OPENED_ELSEWHERE, _FIRST_CLOSED_FIRST],
    ids=[
        "by another thread",
        "by another thread, frames given up",
        "by the thread that used it",
        "the first one first",
    ],
)
def test_a_signal_after_an_engine_was_closed_reaches_its_handler(bundle: Bundle, backend: str, closing: str) -> None:
    command = [sys.executable, "-c", _START + closing + _END, str(bundle.root), backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (0, "told\n" * 3), done.stderr
