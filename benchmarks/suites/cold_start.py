"""A fresh process that opens a bundle and judges a frame: how long until the first verdict, and how much memory.

    python -m benchmarks.suites.cold_start BUNDLE --backend openvino --precision int8

Prints one line of JSON. The time before the interpreter runs is counted too, where the caller says when it started.
"""

from __future__ import annotations

import time

_ENTERED = time.time()

import argparse  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

__all__ = ["cold_start", "parse_status"]

_FRAMES = 20


def cold_start(bundle: Path, *, backend: str, precision: str, threads: int) -> dict[str, float]:
    """Run the measurement in a process of its own.

    Args:
        bundle: Folder of the bundle.
        backend: Backend's name.
        precision: Precision of the graph.
        threads: CPU threads; 0 leaves it to the backend.

    Raises:
        subprocess.CalledProcessError: The process failed; its stderr is shown.
    """
    options = ["--backend", backend, "--precision", precision, "--threads", str(threads)]
    command = [sys.executable, "-m", "benchmarks.suites.cold_start", str(bundle), *options]
    root = Path(__file__).parents[2]
    started = time.time()
    done = subprocess.run(
        [*command, "--started", repr(started)], stdout=subprocess.PIPE, text=True, check=True, cwd=root
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def parse_status(text: str) -> dict[str, float]:
    """``rss_mib`` and ``peak_mib`` from the text of ``/proc/self/status``.

    Raises:
        ValueError: A field is missing.
    """
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if not {"VmRSS", "VmHWM"} <= fields.keys():
        raise ValueError("no VmRSS or VmHWM in the status of the process")
    return {
        "rss_mib": int(fields["VmRSS"].split()[0]) / 1024,
        "peak_mib": int(fields["VmHWM"].split()[0]) / 1024,
    }


def _measure(root: Path, backend: str, precision: Any, threads: int, started: float) -> dict[str, float]:
    from edge_ad.bundle import Bundle
    from edge_ad.prediction import Verdict
    from edge_ad.runtime import open_engine

    imported = time.time()
    bundle = Bundle.open(root)
    with open_engine(bundle, backend=backend, precision=precision, threads=threads) as engine:
        opened = time.time()
        # Not counted: where a camera would deliver its frame.
        frames = bundle.reference().images[:1]
        given = time.time()
        Verdict.of(engine.infer(frames)[0].score, engine.threshold.value)
        judged = time.time()
        for _ in range(_FRAMES):
            engine.infer(frames)
        memory = parse_status(Path("/proc/self/status").read_text(encoding="utf-8"))
    return {
        "imports_s": imported - started,
        "open_s": opened - imported,
        "first_verdict_s": judged - given,
        "total_s": opened - started + judged - given,
        **memory,
    }


def main() -> None:
    """Measure this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--started", type=float, default=_ENTERED, help="when the process was asked for, Unix time")
    chosen = parser.parse_args()
    print(json.dumps(_measure(chosen.bundle, chosen.backend, chosen.precision, chosen.threads, chosen.started)))


if __name__ == "__main__":
    main()
