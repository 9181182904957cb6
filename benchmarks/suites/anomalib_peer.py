"""anomalib's OpenVINO inferencer as ways of `benchmarks.suites.peers`: each in a process of its environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.suites.ways import Block, Way

__all__ = ["NOTE", "anomalib_ways"]

NOTE = "FP32, random weights: time only. Its own inferencer; same threads and latency hint"
_TIMER = Path(__file__).with_name("anomalib_timer.py")


@contextmanager
def anomalib_ways(
    python: Path, models: Path, images: Sequence[NDArray[np.uint8]], threads: int, folder: Path
) -> Iterator[tuple[dict[str, Way], dict[str, str]]]:
    """Start a process for each exported model; they wait while others have their turn.

    Args:
        python: Interpreter of anomalib's environment.
        models: Folder that `anomalib_export` wrote.
        images: Decoded frames, uint8 (H, W, 3) BGR each.
        threads: CPU threads.
        folder: Folder for the frames and for what the inferencer caches.

    Yields:
        Name → way, and name → why it is not measured.
    """
    frames = folder / "frames.npz"
    np.savez(frames, *images)
    failed = models / "failed.json"
    missing = json.loads(failed.read_text(encoding="utf-8")) if failed.is_file() else {}
    ways: dict[str, Way] = {}
    with ExitStack() as stack:
        for path in sorted(models.resolve().glob("*.xml")):
            command = [str(python.absolute()), str(_TIMER), str(path), str(frames), str(threads)]
            try:
                ways[f"anomalib {path.stem}"] = stack.enter_context(_worker(command, folder))
            except RuntimeError as error:
                missing[path.stem] = str(error)
        yield ways, {f"anomalib {name}": why for name, why in missing.items()}


@contextmanager
def _worker(command: Sequence[str], folder: Path) -> Iterator[Way]:
    with (folder / "stderr.txt").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if _answer(process) != "ready":
                errors.seek(0)
                raise RuntimeError(" ".join(errors.read().strip().splitlines()[-1:]) or "it ended at once")
            yield lambda seconds: _block(process, seconds)
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()


def _block(process: subprocess.Popen[str], seconds: float) -> Block:
    assert process.stdin is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    found = json.loads(_answer(process))
    return Block(float(found["p50_ms"]), int(found["runs"]))


def _answer(process: subprocess.Popen[str]) -> str:
    """The next line that is an answer: libraries may print lines of their own before."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready" or line.startswith("{"):
            return line.strip()
    return ""
