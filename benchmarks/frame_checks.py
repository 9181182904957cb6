"""What is done to every frame besides judging it: its cost at 1280×720, held to a bound.

Run: ``python -m benchmarks.frame_checks``. Exits with 1 when a check costs more than its bound.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np

from edge_ad.streaming.filters import FrameHealth, Region
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.sources.http_client import MultipartReader
from edge_ad.streaming.triggers import trigger_from_text

_ROUNDS, _CALLS = 20, 50


def main() -> int:
    """Print median milliseconds of processor time per frame and compare them with their bounds."""
    noise = np.random.default_rng(0).normal(128, 12, (720, 1280, 3))
    images = [np.roll(noise, 8 * shift, axis=1).clip(0, 255).astype(np.uint8) for shift in range(4)]
    frames = [Frame(number, image, number / 30, 0.0, 0.0) for number, image in enumerate(images)]
    jpegs = [bytes(cv2.imencode(".jpg", cv2.GaussianBlur(image, (0, 0), 2))[1].tobytes()) for image in images]
    health, motion = FrameHealth(can_freeze=True), trigger_from_text("motion:640,0,640,719")
    region = Region.parse("320,180,640,360")
    checks: dict[str, tuple[Callable[[int], object], float]] = {
        "health": (lambda number: health.check(images[number % 4]), 0.3),
        "region": (lambda number: region.crop(images[number % 4]), 0.01),
        "motion at a line": (lambda number: motion.fires(frames[number % 4]), 0.3),
        "MJPEG framing and damage": (lambda number: _reader(jpegs[number % 4]).next_part(), 1.0),
        "JPEG decoding, for comparison": (lambda number: _decode(jpegs[number % 4]), float("inf")),
    }
    is_within = True
    for name, (check, bound_ms) in checks.items():
        cost_ms = _median_ms(check)
        is_within &= cost_ms <= bound_ms
        print(f"{name:32} {cost_ms:8.4f} ms   bound {bound_ms:g} ms")
    return 0 if is_within else 1


def _median_ms(check: Callable[[int], object]) -> float:
    rounds = []
    for _ in range(_ROUNDS):
        started = time.thread_time()
        for number in range(_CALLS):
            check(number)
        rounds.append((time.thread_time() - started) * 1e3 / _CALLS)
    return statistics.median(rounds)


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._rest = memoryview(content)

    def read1(self, size: int, /) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)


def _reader(jpeg: bytes) -> MultipartReader:
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
    return MultipartReader(_Bytes(head + jpeg), "frame", timeout_s=1)


def _decode(jpeg: bytes) -> object:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


if __name__ == "__main__":
    sys.exit(main())
