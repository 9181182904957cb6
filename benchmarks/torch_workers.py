"""Eager torch given the whole machine: processes that judge frames side by side, each on threads of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import EdgeAdError, UsageError

__all__ = ["TorchWorkers", "torch_workers"]

Frame = NDArray[np.uint8]

_READY = "ready"
_WARM_UP = 3


class TorchWorkers:
    """Processes that wait until they are asked to work.

    Args:
        pipes: One to each process, which has said that it is ready.
    """

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def frames_per_second(self, seconds: float) -> float:
        """Let all of them judge frames at once.

        Args:
            seconds: Time to work, at least.

        Returns:
            Frames that all of them judged together, per second.
        """
        for pipe in self._pipes:
            pipe.send(seconds)
        return sum(float(pipe.recv()) for pipe in self._pipes)


@contextmanager
def torch_workers(run: Path, frames: list[Frame], *, processes: int, threads: int) -> Iterator[TorchWorkers]:
    """Start processes that hold a run's detector in eager FP32 torch; they end with the context.

    Args:
        run: Folder of the run.
        frames: Decoded frames, uint8 (H, W, 3) BGR each.
        processes: How many.
        threads: Threads of each.

    Raises:
        UsageError: A process cannot open the run.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of torch in a broken state
    pipes, started = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, run, frames, threads), daemon=True)
        process.start()
        theirs.close()  # so that a process which dies is an end of file here
        pipes.append(ours)
        started.append(process)
    try:
        for pipe in pipes:
            if (said := pipe.recv()) != _READY:
                raise UsageError(said)
        yield TorchWorkers(pipes)
    finally:
        for pipe, process in zip(pipes, started, strict=True):
            pipe.close()
            process.join()


def _serve(pipe: Connection, run: Path, frames: list[Frame], threads: int) -> None:
    from itertools import cycle

    from edge_ad.evaluation.latency import frame_judge
    from edge_ad.training.predictor import open_run

    try:
        subject = open_run(run, threads)
    except EdgeAdError as error:
        pipe.send(str(error))
        return
    judge = frame_judge(subject.predict, cycle(frames), subject.size_hw, 0.0, subject.photos)
    for _ in range(_WARM_UP):
        judge()
    pipe.send(_READY)
    while True:
        try:
            seconds = float(pipe.recv())
        except EOFError:
            return
        start, done = time.perf_counter(), 0
        while time.perf_counter() < start + seconds:
            judge()
            done += 1
        pipe.send(done / (time.perf_counter() - start))
