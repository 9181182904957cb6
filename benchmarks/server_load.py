"""What the HTTP server costs the stream under load, and how long proper clients wait meanwhile.

    python -m benchmarks.server_load --bundle BUNDLE [--loads idle drip misuse unread "4 viewers"] [--out streams.jsonl]

Streams over decoded 1280×720 frames take turns in one process, each load between two streams without it. A load is five
hundred connections of a process of its own at the lowest priority. Beside every stream, one client asks for a frame ten
times a second with the token, and comes as a viewer five times a second: it connects, reads the state and a picture.
Prints JSON: for each load the median of FPS / (mean FPS of the streams before and after it), frames that were lost, and
how long trigger and viewer waited; "elsewhere" is misuse of another server, for comparison. The exit code is 0 when
every load leaves the stream 0.90 of its FPS and loses nothing, and the trigger is answered within 100 ms and the viewer
within 1 s (95th percentile).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frames import passing_parts, photos
from benchmarks.live_rows import add_out_option, add_row
from benchmarks.server_clients import TOKEN
from edge_ad.bundle import Bundle
from edge_ad.runtime import Engine, open_engine
from edge_ad.server import HttpServer, PageSink, http_trigger, metrics_sink
from edge_ad.streaming.session import Limits, run_stream
from edge_ad.streaming.sinks import Sink
from edge_ad.streaming.sources import Source

_SIZE_HW = (720, 1280)
_FRAMES = 60
_LEAST_FPS, _MOST_TRIGGER_S, _MOST_VIEWER_S = 0.90, 0.1, 1.0


class DecodedFrames(Source):
    """The same few frames again and again, as fast as they are taken."""

    def __init__(self, frames: list[NDArray[np.uint8]]) -> None:
        super().__init__("decoded frames", is_live=False)
        self._frames, self._number = frames, 0

    def open(self) -> None:
        """Begin with the first."""
        self._number = 0

    def read(self) -> NDArray[np.uint8] | None:
        """The next one."""
        self._number += 1
        return self._frames[self._number % len(self._frames)]

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class _Seen:
    """What was seen under one load."""

    ratios: list[float] = field(default_factory=list)
    waits_s: dict[str, list[float]] = field(default_factory=lambda: {"trigger": [], "viewer": []})
    lost: int = 0

    def report(self) -> dict[str, Any]:
        """For JSON."""
        waits = {f"{name}_ms_p95": round(1e3 * float(np.quantile(row, 0.95)), 1) for name, row in self.waits_s.items()}
        most = {f"{name}_ms_max": round(1e3 * max(row), 1) for name, row in self.waits_s.items()}
        rounds = [round(value, 3) for value in self.ratios]
        return {"ratio": round(median(rounds), 3), "lost": self.lost, **waits, **most, "rounds": rounds}

    def is_good(self) -> bool:
        """Whether the stream was left in peace and proper clients were served."""
        limits = {"trigger": _MOST_TRIGGER_S, "viewer": _MOST_VIEWER_S}
        in_time = all(np.quantile(self.waits_s[name], 0.95) <= most_s for name, most_s in limits.items())
        return median(self.ratios) >= _LEAST_FPS and self.lost == 0 and in_time


class _Count(Sink):
    """Counts what arrives: nothing may be lost on the way."""

    def __init__(self) -> None:
        self.frames = 0

    def write(self, result: Any, picture: NDArray[np.uint8] | None) -> None:
        """Count one."""
        self.frames += 1

    def close(self) -> None:
        """Nothing is open."""


class Clients:
    """Processes that load a server and probe it, ready before the stream starts."""

    def __init__(self, port: Callable[[], int], kind: str | None) -> None:
        self._port = port
        self._kinds = ["probe"] if kind is None else [kind, "probe"]
        if kind == "elsewhere":
            self._kinds.insert(0, "dummy")
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.server_clients", each],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for each in self._kinds
        ]  # fmt: skip
        self._has_begun = False
        time.sleep(2.0)  # for their imports

    def begin(self, progress: object) -> None:
        """Let them begin with the first frames."""
        if not self._has_begun:
            self._has_begun = True
            for process in self._processes:
                assert process.stdin is not None
                process.stdin.write(f"{self._port()}\n")
                process.stdin.flush()

    def end(self) -> list[tuple[str, float]]:
        """End them: what the probe has waited for, and how long."""
        printed = ""
        for process in self._processes:
            process.kill()
            printed = process.communicate()[0]
        waits = [line.split() for line in printed.splitlines()]
        return [(row[0], float(row[1])) for row in waits if len(row) == 2]


def stream_fps(
    engine: Engine, frames: list[NDArray[np.uint8]], seconds: float, kind: str | None, seen: _Seen | None = None
) -> float:
    """Frames per second of one stream with a page, metrics and a trigger, under a load; None for none."""
    server, count = HttpServer(TOKEN), _Count()
    with socket.create_server(("127.0.0.1", 0)) as probe_socket:
        port = int(probe_socket.getsockname()[1])
    page, numbers = PageSink(server, str(port)), metrics_sink(str(port), server)
    clients = Clients(lambda: port, kind)
    with ExitStack() as stack:
        stack.enter_context(http_trigger(str(port), server))
        try:
            summary = run_stream(
                engine,
                DecodedFrames(frames),
                threshold=engine.threshold.value,
                sinks=[page, numbers, count],
                limits=Limits(max_seconds=seconds),
                on_progress=clients.begin,
            )
        finally:
            waits = clients.end()
    if seen is not None:
        seen.lost += summary.dropped + summary.frames - count.frames
        for name, waited_s in waits:
            seen.waits_s[name].append(waited_s)
    return summary.fps


def run(bundle: Bundle, seconds: float, rounds: int, loads: list[str], threads: int) -> tuple[dict[str, Any], bool]:
    """Measure in turns, each load between two streams without it."""
    seen = {kind: _Seen() for kind in loads}
    with open_engine(bundle, threads=threads) as engine:
        frames = list(passing_parts(photos(bundle, None, _SIZE_HW), _FRAMES))
        stream_fps(engine, frames, 1.0, None)
        calm = [stream_fps(engine, frames, seconds, None)]
        for number in range(rounds):
            for kind in loads if number % 2 == 0 else reversed(loads):
                fps = stream_fps(engine, frames, seconds, kind, seen[kind])
                calm.append(stream_fps(engine, frames, seconds, None))
                seen[kind].ratios.append(fps / ((calm[-2] + calm[-1]) / 2))
    report = {kind: row.report() for kind, row in seen.items()}
    facts = {"fps_calm": round(median(calm), 1), "seconds": seconds, "cores": os.cpu_count()}
    return {**facts, "loads": report}, all(row.is_good() for row in seen.values())


def main() -> int:
    """Measure the stream under each load and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--loads", nargs="+", default=["idle", "drip", "misuse", "unread"])
    add_out_option(parser)
    arguments = parser.parse_args()
    if arguments.bundle is None:
        parser.error("--bundle is needed")
    bundle = Bundle.open(arguments.bundle)
    report, is_good = run(bundle, arguments.seconds, arguments.rounds, arguments.loads, arguments.threads)
    print(json.dumps(report, indent=2))
    add_row(arguments.out, "server_load", report)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
