"""The window on a real display, here a virtual one: it opens without a word of Qt's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SCRIPT = """
import numpy as np
from edge_ad.streaming.sinks import WindowSink
from tests.streaming.fakes import FakeSource
from tests.server.live_page import judged
with WindowSink() as sink:
    sink.begin(FakeSource(2))
    for number in range(2):
        sink.write(judged(number), np.zeros((48, 64, 3), np.uint8))
    print("open" if not sink.wants_end else "closed")
"""


@pytest.fixture
def display() -> Iterator[str]:
    """Name of a display of its own."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("no Xvfb on the path")
    reading, writing = os.pipe()
    command = [program, "-displayfd", str(writing), "-nolisten", "tcp", "-screen", "0", "640x480x24"]
    server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as file:
            yield f":{file.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def test_the_first_window_opens_without_a_warning(display: str) -> None:
    here = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**os.environ, "DISPLAY": display, "PYTHONPATH": str(here)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "open", "")
