"""What the live page costs the stream: nobody watching, viewers, and two hundred connections that misuse it.

    python -m benchmarks.live_page_load --bundle BUNDLE [--loads misuse "misuse elsewhere"] [--out streams.jsonl]

Streams over decoded 1280×720 frames take turns in one process: with a page that nobody asks for anything before and
after each load, and with the page under the load. The clients are a process of their own at the lowest priority; what
they themselves cost is seen when the same clients misuse a dummy server that has nothing to do with the stream
("misuse elsewhere"). Prints JSON: for each load the median of FPS / (mean FPS of the streams before and after it), and
how much of a core the page's threads used; the exit code is 0 when misuse costs at most 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.frames import passing_parts, photos
from benchmarks.live_page_clients import TOKEN
from benchmarks.live_rows import add_out_option, add_row
from edge_ad.bundle import Bundle
from edge_ad.runtime import Engine, open_engine
from edge_ad.server import WebSink, web_sink
from edge_ad.streaming.session import Limits, Progress, run_stream
from edge_ad.streaming.sources import Source

_SIZE_HW = (720, 1280)
_FRAMES = 60
_MOST_COST = 0.05
_SETTLE_S = 1.0
_NO_CLIENTS = ("no page", "nobody")
_PAGE_THREADS = ("stream-web-door", "stream-web-server", "stream-web-painter", "stream-sink-web")


@dataclass
class _Seen:
    ratios: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)


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


class Clients:
    """A process that loads a page, ready before the stream starts, and what the page's threads use meanwhile."""

    def __init__(self, page: WebSink | None, load: str) -> None:
        self.cpu_share = 0.0
        self._page = page
        self._dummy = _client("dummy") if "elsewhere" in load else None
        self._process = None if load in _NO_CLIENTS else _client(load)
        self._begun: tuple[float, float] | None = None
        if self._process is not None:
            time.sleep(_SETTLE_S)

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._process, self._dummy):
            if process is not None:
                process.kill()
                process.communicate()

    def look(self, progress: Progress) -> None:
        """Let the clients begin with the first frames, and note what the page has used of a core since."""
        now, used = time.perf_counter(), _cpu_s()
        if self._begun is None:
            self._begun = now, used
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(self._port() + "\n")
                self._process.stdin.flush()
        elif now > self._begun[0]:
            self.cpu_share = (used - self._begun[1]) / (now - self._begun[0])

    def _port(self) -> str:
        if self._dummy is not None and self._dummy.stdout is not None:
            return self._dummy.stdout.readline().strip()
        assert self._page is not None
        return self._page.url.rpartition(":")[2].strip("/")


def _client(load: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.live_page_clients", load]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _cpu_s() -> float:
    """CPU time of the page's threads."""
    page = {thread.native_id for thread in threading.enumerate() if thread.name in _PAGE_THREADS}
    return sum(each.user_time + each.system_time for each in psutil.Process().threads() if each.id in page)


def stream_fps(engine: Engine, frames: list[NDArray[np.uint8]], seconds: float, load: str) -> tuple[float, float]:
    """Frames per second of one stream under a load, and the page's share of a core; ``"no page"`` has none."""
    page = None if load == "no page" else web_sink("127.0.0.1:0", TOKEN)
    with Clients(page, load) as clients:
        summary = run_stream(
            engine,
            DecodedFrames(frames),
            threshold=engine.threshold.value,
            sinks=[] if page is None else [page],
            limits=Limits(max_seconds=seconds),
            on_progress=clients.look,
        )
    return summary.fps, clients.cpu_share


def run(bundle: Bundle, seconds: float, rounds: int, loads: list[str], threads: int) -> dict[str, Any]:
    """Measure in turns, each load between two streams that nobody loads."""
    seen: dict[str, _Seen] = {load: _Seen() for load in loads}
    with open_engine(bundle, threads=threads) as engine:
        frames = list(passing_parts(photos(bundle, None, _SIZE_HW), _FRAMES))
        stream_fps(engine, frames, 1.0, "nobody")
        calm = [stream_fps(engine, frames, seconds, "nobody")[0]]
        for number in range(rounds):
            for load in loads if number % 2 == 0 else reversed(loads):
                fps, share = stream_fps(engine, frames, seconds, load)
                calm.append(stream_fps(engine, frames, seconds, "nobody")[0])
                seen[load].ratios.append(fps / ((calm[-2] + calm[-1]) / 2))
                seen[load].cores.append(share)
    return {
        "fps_nobody": round(median(calm), 1),
        "ratio": {load: round(median(row.ratios), 3) for load, row in seen.items()},
        "page_cores": {load: round(median(row.cores), 4) for load, row in seen.items()},
        "rounds": {load: [round(value, 3) for value in row.ratios] for load, row in seen.items()},
        "seconds": seconds,
        "cores": os.cpu_count(),
    }


def main() -> int:
    """Measure the stream under each load and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument(
        "--loads", nargs="+", default=["no page", "1 viewer", "4 viewers", "misuse", "misuse elsewhere"]
    )
    add_out_option(parser)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    report = run(bundle, arguments.seconds, arguments.rounds, arguments.loads, arguments.threads)
    print(json.dumps(report, indent=2))
    add_row(arguments.out, "live_page_load", report)
    return 0 if report["ratio"].get("misuse", 1.0) >= 1 - _MOST_COST else 1


if __name__ == "__main__":
    sys.exit(main())
