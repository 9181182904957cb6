"""A stream on a real small engine, accelerated: bundles take over or are refused, the broker restarts, SIGTERM ends it.

    python -m benchmarks.soak                                       # 50,000 frames, 100 swaps, 40 refused bundles
    python -m benchmarks.soak --runs 20 --frames 20000 --swaps 200 --refused 0 --restarts 0

Small frames go through the whole pipeline as fast as they can: capture, frame health, prepare, an OpenVINO engine with
several frames in flight, observers, and four sinks: SQLite, JSON lines, NG images of a bounded size, and MQTT to a real
mosquitto. Every frame's verdict is known beforehand, and signals come all the time. Prints JSON; the exit code is 0
when every check holds, otherwise each one that does not is a line on stderr. With --runs each run is a process of
its own, whose exit code counts.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from benchmarks.live_rows import add_out_option, add_row
from benchmarks.mosquitto import Mosquitto
from benchmarks.soak_bundles import BRIGHT_EVERY, REFUSED_KINDS, make_good_bundle, make_refused_bundle
from benchmarks.soak_measures import Measures
from benchmarks.soak_steps import Step, SteppedSource, Steps, Watcher
from edge_ad.errors import EdgeAdError
from edge_ad.runtime.verification import Verification
from edge_ad.streaming.bundle_opening import OpenBundle, open_bundle
from edge_ad.streaming.control import StreamControl
from edge_ad.streaming.filters import FilterOptions, FrameHealth
from edge_ad.streaming.frame import Event
from edge_ad.streaming.hot_swap import BundleSwapper
from edge_ad.streaming.progress import Progress
from edge_ad.streaming.session import run_stream
from edge_ad.streaming.sinks import RecordsSink, mqtt_sink, ng_images_sink, records_sink
from edge_ad.streaming.statistics import Summary
from edge_ad.streaming.verdicts import observers_from_options

_NG_BYTES = 500_000
_GOOD_SEEDS = (0, 1)


@dataclass(frozen=True)
class Plan:
    """What a run is asked to do.

    Attributes:
        frames: Frames that are judged.
        swaps: Bundles that take over.
        refused: Bundles that are asked for and must be refused.
        restarts: How often the broker is killed and started again.
        threads: Threads of the engine; 0 leaves it to the backend.
    """

    frames: int
    swaps: int
    refused: int
    restarts: int
    threads: int


def soak(plan: Plan) -> dict[str, Any]:
    """Run a stream and judge what it did and what its process took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        root = Path(folder)
        os.environ["EDGE_AD_CACHE"] = str(root / "cache")  # each run verifies its bundles itself
        good = [make_good_bundle(root / f"good-{seed}", seed) for seed in _GOOD_SEEDS]
        control = StreamControl()
        paths = [bundle.root for bundle in good]
        steps = Steps(_steps(plan, control, broker, paths, list(_refused_bundles(root, plan.refused))))
        watcher, measures, signals = Watcher(steps), Measures(plan.frames), _Signals()
        gc.collect()
        source = SteppedSource(plan.frames, steps, _terminate)
        summary = _stream(root, plan, control, source, watcher, [measures, signals], broker)
        broker.stop()
        checks = _checks(root, plan, summary, watcher) | _checks_of_process(measures)
        checks |= {"every_signal_handled": signals.sent == signals.handled, "nothing_unforeseen": not steps.surprises}
    return {
        "passed": all(checks.values()),
        "checks": checks,
        **vars(plan),
        "judged": summary.frames,
        "defective": summary.defective,
        "seconds": round(time.perf_counter() - started, 1),
        "fps": round(summary.fps, 1),
        "ended_by": summary.ended_by,
        "events": dict(watcher.events),
        "surprises": steps.surprises,
        "signals": signals.handled,
        "sink_drops": dict(summary.sink_drops),
        **measures.to_dict(),
    }


class _Signals:
    """Sends this process a signal every 0.1 s or so; a thread whose signal stack is gone does not survive it."""

    def __init__(self) -> None:
        self.sent = self.handled = 0
        self._next_at = 0.0
        signal.signal(signal.SIGUSR1, self._handle)

    def __call__(self, progress: Progress) -> None:
        if progress.seconds < self._next_at:
            return
        self._next_at = progress.seconds + 0.1
        self.sent += 1
        signal.raise_signal(signal.SIGUSR1)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.handled += 1


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # as systemd ends a service


def _stream(
    root: Path,
    plan: Plan,
    control: StreamControl,
    source: SteppedSource,
    watcher: Watcher,
    observers: Sequence[Callable[[Progress], None]],
    broker: Mosquitto,
) -> Summary:
    verification = Verification()

    def opener(path: Path) -> OpenBundle:
        return open_bundle(path, backend="openvino", threads=plan.threads, verification=verification)

    def observe(progress: Progress) -> None:
        for observer in observers:
            observer(progress)

    first = opener(root / f"good-{_GOOD_SEEDS[0]}")
    pictures = root / "ng"
    sinks = [
        RecordsSink(root / "line.jsonl"),
        records_sink(root / "line.sqlite", ng_images=pictures),
        ng_images_sink(pictures, keep_gb=_NG_BYTES / 1e9),
        mqtt_sink(f"mqtt://127.0.0.1:{broker.port}/soak"),
        watcher,
    ]
    with BundleSwapper(opener, first, cancel=verification.cancel) as swapper:
        return run_stream(
            first.judging.engine,
            source,
            threshold=first.judging.threshold,
            sinks=sinks,
            observers=observers_from_options(part="2/3", cool_down="30f"),
            on_progress=observe,
            control=control,
            filters=FilterOptions(make_health=lambda source: FrameHealth(can_freeze=source.is_live)),
            swapper=swapper,
        )


def _refused_bundles(root: Path, count: int) -> Iterator[Path]:
    for number, kind in zip(range(count), cycle(REFUSED_KINDS), strict=False):
        path = root / f"refused-{number}-{kind.replace(' ', '-')}"
        make_refused_bundle(path, kind, seed=number)
        yield path


def _steps(
    plan: Plan, control: StreamControl, broker: Mosquitto, good: Sequence[Path], refused: Sequence[Path]
) -> list[Step]:
    """Everything that happens, each kind spread evenly over the frames."""
    steps = []
    for index in range(plan.swaps):
        due = _due(index, plan.swaps, 0.5, plan.frames)
        steps.append(_swap(due, control, good[(index + 1) % len(good)], "bundle swapped"))
    for index, path in enumerate(refused):
        steps.append(_swap(_due(index, plan.refused, 0.4, plan.frames), control, path, "bundle refused"))
    for index in range(plan.restarts):
        away, back = (_due(index, plan.restarts, part, plan.frames) for part in (0.3, 0.6))
        steps.append(_restart(away, "the broker goes away", broker.stop, "alarm"))
        steps.append(_restart(back, "the broker returns", broker.start, "alarm cleared"))
    return sorted(steps, key=lambda step: step.due)


def _swap(due: int, control: StreamControl, path: Path, expected: str) -> Step:
    def ask() -> None:
        control.swap_bundle(path, by="soak")

    def is_answer(event: Event) -> bool:
        return event.kind in {"bundle swapped", "bundle refused"}

    return Step(due, f"the bundle {path.name} is asked for", ask, is_answer, expected)


def _restart(due: int, what: str, begin: Callable[[], None], expected: str) -> Step:
    def is_answer(event: Event) -> bool:
        return event.kind == expected and event.data.get("alarm") == "mqtt"

    return Step(due, what, begin, is_answer, expected)


def _due(index: int, count: int, part: float, frames: int) -> int:
    """Number of the frame before which one of so many steps is due: in its share of the frames, at this part of it."""
    return 1 + int((index + part) / count * frames)


def _checks(root: Path, plan: Plan, summary: Summary, watcher: Watcher) -> dict[str, bool]:
    rows, ng_rows = _rows(root / "line.sqlite")
    with (root / "line.jsonl").open(encoding="utf-8") as file:
        lines = sum(1 for _ in file)
    pictures = sum(path.stat().st_size for path in (root / "ng").rglob("*.png"))
    defective = plan.frames // BRIGHT_EVERY
    return {
        "every_frame_judged": summary.frames == plan.frames,
        "rows_in_database": (rows, ng_rows) == (summary.frames, summary.defective),
        "lines": lines == summary.frames,
        "every_verdict_right": watcher.misjudged == 0 and summary.defective == defective,
        "ng_images_within_limit": pictures <= _NG_BYTES and (pictures > 0) == (defective > 0),
        "good_bundles_took_over": summary.swaps == watcher.events["bundle swapped"] == plan.swaps,
        "bad_bundles_refused": watcher.events["bundle refused"] == plan.refused,
        "ended_by_sigterm": summary.ended_by == "terminated",
    }


def _rows(database: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(database)) as connection:
        rows, ng_rows = connection.execute("SELECT count(*), total(is_ng) FROM verdicts").fetchone()
    return int(rows), int(ng_rows)


def _checks_of_process(measures: Measures) -> dict[str, bool]:
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("stream-")]
    return {**measures.checks(), "nothing_left": not left and not psutil.Process().children()}


def _one_run(plan: Plan, out: Path | None) -> int:
    try:
        report = soak(plan)
    except EdgeAdError as error:
        print(f"The soak ended early: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2))
    add_row(out, "soak", report)
    for name, holds in report["checks"].items():
        if not holds:
            print(f"The soak failed: {name.replace('_', ' ')} does not hold.", file=sys.stderr)
    for line in report["surprises"]:
        print(f"  {line}", file=sys.stderr)
    return 0 if report["passed"] else 1


def _run_apart(options: Sequence[str]) -> int:
    """Run in a process of its own, and end the broker of one that died."""
    command = [sys.executable, "-m", "benchmarks.soak", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _many_runs(runs: int, plan: Plan, out: Path | None) -> int:
    options = [f"--{name}={value}" for name, value in vars(plan).items()]
    started, codes = time.perf_counter(), list[int]()
    for number in range(1, runs + 1):
        codes.append(_run_apart(options))
        print(f"run {number} of {runs}: exit code {codes[-1]}", file=sys.stderr)
    passed = not any(codes)
    report = {"passed": passed, **vars(plan), "exit_codes": codes, "seconds": round(time.perf_counter() - started, 1)}
    print(json.dumps(report, indent=2))
    add_row(out, "soak_runs", report)
    return 0 if passed else 1


def main() -> int:
    """Run the soak, once or in several processes, and print what it showed as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--swaps", type=int, default=100, help="bundles that take over")
    parser.add_argument("--refused", type=int, default=40, help="bundles that must be refused")
    parser.add_argument("--restarts", type=int, default=5, help="of the MQTT broker")
    parser.add_argument("--threads", type=int, default=0, help="of the engine")
    parser.add_argument("--runs", type=int, default=1, help="more than one: each in a process of its own")
    add_out_option(parser)
    arguments = parser.parse_args()
    plan = Plan(arguments.frames, arguments.swaps, arguments.refused, arguments.restarts, arguments.threads)
    if arguments.runs > 1:
        return _many_runs(arguments.runs, plan, arguments.out)
    return _one_run(plan, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
