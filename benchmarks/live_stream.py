"""A live stream under test: 30 FPS over HTTP, switched off and on once, memory watched to the end.

    python -m benchmarks.live_stream --bundle BUNDLE --seconds 180

Prints a JSON verdict; the exit code is 0 when every check holds.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import psutil

from benchmarks.frames import passing_parts, photos
from benchmarks.live_rows import add_out_option, add_row
from benchmarks.local_program import free_port
from edge_ad.bundle import Bundle
from edge_ad.runtime import open_engine
from edge_ad.streaming.session import Limits, Progress, run_stream
from edge_ad.streaming.sources import source_from_uri
from edge_ad.streaming.statistics import Summary

_SOURCE_FPS = 30.0
_SIZE_HW = (480, 640)
_OUTAGE_S = 5.0
_MEMORY_EVERY_S = 1.0
_MOST_RECONNECT_S = 3.0
_MOST_GROWTH_MIB = 8.0
_LEAST_SHARE_SEEN = 0.95


class CameraProcess:
    """A camera in a process of its own, switched off and on once."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._command = [sys.executable, "-m", "benchmarks.mjpeg_camera", str(folder)]
        self._command += ["--port", str(self.port), "--fps", str(_SOURCE_FPS)]
        self.returned_at: float | None = None
        self._process = self._start()

    def restart(self) -> None:
        """Off, a pause, on."""
        self.stop()
        time.sleep(_OUTAGE_S)
        self._process = self._start()
        self.returned_at = time.perf_counter()

    def stop(self) -> None:
        """Off."""
        self._process.terminate()
        self._process.wait(10)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command)
        while process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.02)
        raise RuntimeError("the camera did not start")


@dataclass
class Watch:
    """Notes memory and the moment of the reconnection while the stream runs."""

    memory_mib: list[float]
    reconnected_at: float | None = None
    _next_s: float = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take the samples that are due."""
        if progress.reconnects and self.reconnected_at is None:
            self.reconnected_at = time.perf_counter()
        if progress.seconds >= self._next_s:
            self._next_s = progress.seconds + _MEMORY_EVERY_S
            self.memory_mib.append(psutil.Process().memory_info().rss / 2**20)

    @property
    def growth_mib(self) -> float:
        """From the second sixth of the stream, when every buffer has been used, to the last."""
        share = max(1, len(self.memory_mib) // 6)
        return median(self.memory_mib[-share:]) - median(self.memory_mib[share : 2 * share])


def run(bundle: Bundle, images: Path | None, seconds: float, backend: str, threads: int) -> dict[str, Any]:
    """Stream for so many seconds and judge it."""
    watch = Watch([])
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(passing_parts(photos(bundle, images, _SIZE_HW), 60)):
            cv2.imwrite(f"{folder}/{number:03d}.jpg", frame)
        camera = CameraProcess(Path(folder))
        outage = threading.Timer(seconds / 2, camera.restart)
        outage.start()
        try:
            with open_engine(bundle, backend=backend, threads=threads) as engine:
                source = source_from_uri(f"http://127.0.0.1:{camera.port}/video")
                limits = Limits(max_seconds=seconds)
                summary = run_stream(engine, source, threshold=engine.threshold.value, limits=limits, on_progress=watch)
        finally:
            outage.cancel()
            if outage.is_alive():
                outage.join(_OUTAGE_S + 10)
            camera.stop()
    return _verdict(summary, watch, camera)


def _verdict(summary: Summary, watch: Watch, camera: CameraProcess) -> dict[str, Any]:
    expected = _SOURCE_FPS * (summary.seconds - summary.gap_seconds)
    reconnect_s = None
    if watch.reconnected_at is not None and camera.returned_at is not None:
        reconnect_s = watch.reconnected_at - camera.returned_at
    checks = {
        "one_gap": (summary.gaps, summary.reconnects) == (1, 1),
        "reconnected_in_time": reconnect_s is not None and reconnect_s <= _MOST_RECONNECT_S,
        "frames_accounted_for": summary.frames + summary.dropped >= _LEAST_SHARE_SEEN * expected,
        "memory_flat": watch.growth_mib <= _MOST_GROWTH_MIB,
    }
    return {
        "passed": all(checks.values()),
        "checks": checks,
        "reconnect_s": None if reconnect_s is None else round(reconnect_s, 3),
        "memory_growth_mib": round(watch.growth_mib, 2),
        "memory_mib": [round(value, 1) for value in watch.memory_mib[:: max(1, len(watch.memory_mib) // 20)]],
        "frames_expected": round(expected),
        "summary": asdict(summary),
    }


def main() -> int:
    """Run the live stream and print what it showed as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="folder of photos; the bundle's reference photos if not given")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    add_out_option(parser)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    verdict = run(bundle, arguments.images, arguments.seconds, arguments.backend, arguments.threads)
    print(json.dumps(verdict, indent=2))
    add_row(arguments.out, "live_stream", verdict)
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
