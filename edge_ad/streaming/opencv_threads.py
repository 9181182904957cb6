"""How many threads OpenCV may use while an engine runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from edge_ad.runtime.engine import EngineDescription
from edge_ad.runtime.target import available_cores

__all__ = ["opencv_beside"]


@contextmanager
def opencv_beside(engine: EngineDescription) -> Iterator[None]:
    """Leave OpenCV the cores that an engine on the CPU does not take, one at least.

    With more, the resizing of the next frame takes as much from the engine as from the frame. The number is the
    process's; the one from before comes back at the end. An engine on another device changes nothing.

    Args:
        engine: What runs beside it.
    """
    before = cv2.getNumThreads()
    if engine.device.startswith("CPU"):
        taken = engine.threads or available_cores()
        cv2.setNumThreads(max(1, min(before, available_cores() - taken)))
    try:
        yield
    finally:
        cv2.setNumThreads(before)
