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

__all__ = ["anomalib_ways"]

_FITTED = "FP32. Its own inferencer; same threads and latency hint"
_TIME_ONLY = f"{_FITTED}. Random weights: time only"
_TIMER = Path(__file__).with_name("anomalib_timer.py")


@contextmanager
def anomalib_ways(
    python: Path, folders: Sequence[Path], images: Sequence[NDArray[np.uint8]], threads: int, folder: Path
) -> Iterator[tuple[dict[str, Way], dict[str, str], dict[str, str]]]:
    """Start a process for each exported model; they wait while others have their turn.

    Args:
        python: Interpreter of anomalib's environment.
        folders: Folders that `anomalib_export` or `peer_accuracy` wrote.
        images: Decoded frames, uint8 (H, W, 3) BGR each.
        threads: CPU threads.
        folder: Folder for the frames and for what the inferencer caches.

    Yields:
        Name → way, name → what to know about it, and name → why it is not measured.
    """
    frames = folder / "frames.npz"
    np.savez(frames, *images)
    missing: dict[str, str] = {}
    ways: dict[str, Way] = {}
    notes: dict[str, str] = {}
    with ExitStack() as stack:
        for models in folders:
            failed = models / "failed.json"  # anomalib_export's
            missing |= json.loads(failed.read_text(encoding="utf-8")) if failed.is_file() else {}
            for path in sorted(models.resolve().glob("*.xml")):
                command = [str(python.absolute()), str(_TIMER), str(path), str(frames), str(threads)]
                try:
                    ways[f"anomalib {path.stem}"] = stack.enter_context(_worker(command, folder))
                except RuntimeError as error:
                    missing[path.stem] = str(error)
                notes[f"anomalib {path.stem}"] = _TIME_ONLY if failed.is_file() else _FITTED
        yield ways, notes, {f"anomalib {name}": why for name, why in missing.items()}


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
    return Block(float(found["p50_ms"]), int(found["runs"]), float(found["cpu_ms"]))


def _answer(process: subprocess.Popen[str]) -> str:
    """The next line that is an answer: libraries may print lines of their own before."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready" or line.startswith("{"):
            return line.strip()
    return ""
