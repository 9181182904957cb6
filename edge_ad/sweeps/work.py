"""The process of a cell: within its limits, from the order to the result or the reason why there is none."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from edge_ad.errors import EdgeAdError
from edge_ad.outside_text import printable
from edge_ad.storage import one_at_a_time
from edge_ad.sweeps.cell_folder import CellFolder, Cost, Failure, Holder
from edge_ad.sweeps.cells import Cell, Limits, Told, task_of
from edge_ad.sweeps.processes import process_space

if sys.platform == "win32":
    resource = None
else:
    import resource

__all__ = ["THREAD_VARIABLES", "run_cell", "run_in_own_process", "stop_by_signal"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""Read once, when a library is loaded: set before Python starts."""

_TRACE_LINES = 12
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "Insufficient memory", "CUDA out of memory")
"""As torch, the system, OpenCV and CUDA say it."""


def run_in_own_process(path: str, gpus: Sequence[int] = ()) -> None:
    """Run the cell of a folder in a process of its own, within its memory.

    Args:
        path: Folder of the cell.
        gpus: Indices of the GPUs that were given to it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # submitit lets the latter pass, and a shell's & the former
        signal.signal(number, stop_by_signal)
    folder = CellFolder(Path(path))
    _keep_memory(folder.order().limits)
    run_cell(folder, Told(_to_the_log, lambda report: None, lambda done, total: None), gpus)


def stop_by_signal(number: int, frame: FrameType | None) -> None:
    """End as by Ctrl-C, as the handler of a signal: a training saves its last epoch."""
    raise KeyboardInterrupt


def run_cell(folder: CellFolder, told: Told, gpus: Sequence[int] = ()) -> None:
    """Run a cell and write what became of it; one that has its result is left as it is.

    Another process that runs the same cell is waited for.

    Args:
        folder: Its folder, with the order.
        told: Who is told.
        gpus: Indices of the GPUs that were given to this process.

    Raises:
        KeyboardInterrupt: It was stopped; nothing is written.
        StorageError: What became of it cannot be written.
    """
    with one_at_a_time(folder.path):
        if folder.finished() is not None:
            return
        folder.hold(Holder(process=os.getpid(), space=process_space(), gpus=tuple(gpus)))
        began, cpu_before = time.monotonic(), _cpu_seconds()
        try:
            result = _result_of(folder.order().cell, folder.path, told)
        except Exception as error:  # whatever it is, the other cells are run
            folder.fail(_failure_of(error))
            return
        folder.finish(result, _cost(time.monotonic() - began, _cpu_seconds() - cpu_before))


def _result_of(cell: Cell, path: Path, told: Told) -> Mapping[str, Any]:
    return task_of(cell)(cell.arguments, path, told)


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, EdgeAdError):
        return Failure(message=error.message, hint=error.hint)
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return Failure(message="Its memory was not enough.", hint="Give more: limits, memory.")
    lines = "".join(traceback.format_exception(error)).splitlines()
    message = printable(f"{type(error).__name__}: {error}".splitlines()[0])
    return Failure(message=message, trace=lines[-_TRACE_LINES:])


def _keep_memory(limits: Limits) -> None:
    """Hold this process to its memory; cores, GPUs and time are held from outside."""
    if limits.memory_bytes is not None and resource is not None:
        # Not the address space: libraries reserve much more of it than they use.
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        allowed = limits.memory_bytes if most == resource.RLIM_INFINITY else min(limits.memory_bytes, most)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _to_the_log(text: str) -> None:
    sys.stderr.write(f"{printable(text)}\n")


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _cost(seconds: float, cpu_seconds: float) -> Cost:
    peak = 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Cost(
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu_seconds, 3),
        peak_mib=peak,
        host=platform.node(),
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
