"""Starts cells, finds out what became of them, and starts again what was killed."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_ad.storage import one_at_a_time, storage_errors
from edge_ad.sweeps.cell_folder import CellFolder, Failure, Finished, Order
from edge_ad.sweeps.cells import Cell, Limits
from edge_ad.sweeps.executors import Executor, HasEnded, Job

__all__ = ["ATTEMPTS", "Answer", "Controller", "folder_of", "known_answer", "run_cells"]

ATTEMPTS = 3
"""How often a cell is started whose process ends without an answer."""


@dataclass(frozen=True)
class Answer:
    """What became of a cell.

    Attributes:
        cell: The cell.
        finished: Its result and what it took; None where it failed.
        failure: Why it failed; None where it has a result.
        is_new: Whether it was run now; else it was there before.
    """

    cell: Cell
    finished: Finished | None
    failure: Failure | None = None
    is_new: bool = True


@dataclass
class _Running:
    cell: Cell
    job: Job
    attempts: int
    ended_at: float | None = None


def folder_of(out: Path, cell: Cell) -> CellFolder:
    """The folder of a cell in that of a sweep."""
    return CellFolder(out / "cells" / cell.key)


class Controller:
    """Cells that run at the same time.

    Args:
        out: Folder of the sweep.
        executor: Where cells run.
        limits: What each may use.
    """

    def __init__(self, out: Path, executor: Executor, limits: Limits) -> None:
        self._out, self._executor, self._limits = out, executor, limits
        self._running: dict[str, _Running] = {}

    @property
    def running(self) -> tuple[Cell, ...]:
        """Cells that were started and have not answered."""
        return tuple(each.cell for each in self._running.values())

    @property
    def has_room(self) -> bool:
        """Whether another cell can be started."""
        return len(self._running) < self._executor.workers

    def start(self, cell: Cell) -> None:
        """Start a cell, unless it has its result or an earlier controller has started it: then that is its answer.

        Raises:
            EdgeAdError: It cannot be started.
        """
        if not self.takes_over(cell):
            self._running[cell.key] = _Running(cell, self._started(cell), attempts=1)

    def takes_over(self, cell: Cell) -> bool:
        """Whether a cell has its result or still runs for an earlier controller; its answer is waited for.

        Raises:
            EdgeAdError: Nothing can tell.
        """
        folder = folder_of(self._out, cell)
        job = HasEnded() if folder.finished() is not None else self._executor.adopted(folder)
        if job is not None:
            self._running[cell.key] = _Running(cell, job, attempts=1)
        return job is not None

    def answers(self) -> Iterator[Answer]:
        """Cells that have answered since the last call; one whose process was killed is started again.

        Raises:
            EdgeAdError: A cell cannot be started again.
        """
        for running in tuple(self._running.values()):
            ended = not running.job.is_running()  # before the look at its files: it writes them and ends
            answer = known_answer(self._out, running.cell)
            if answer is None and ended:
                answer = self._again(running)
            if answer is not None:
                running.job.release()
                del self._running[running.cell.key]
                yield answer

    def give_up(self, cell: Cell) -> None:
        """End a cell that runs, and forget what it has done."""
        running = self._running.pop(cell.key, None)
        if running is not None:
            running.job.cancel()
            running.job.release()
            shutil.rmtree(folder_of(self._out, cell).path, ignore_errors=True)

    def wait(self) -> None:
        """Until it is worth while to look again."""
        self._executor.wait()

    def stop(self) -> None:
        """End what runs, and wait a moment for it: trainings save their last epoch."""
        for running in self._running.values():
            with suppress(OSError):
                running.job.cancel()
        for running in self._running.values():
            running.job.release()
        self._running.clear()

    def _started(self, cell: Cell) -> Job:
        folder = folder_of(self._out, cell)
        folder.give(Order(cell=cell, limits=self._limits))
        return self._executor.start(folder, self._limits)

    def _again(self, running: _Running) -> Answer | None:
        now = time.monotonic()
        running.ended_at = running.ended_at or now
        if now - running.ended_at < self._executor.settle_s:
            return None
        if running.attempts >= ATTEMPTS:
            failure = _killed(running.job.ended_by(), folder_of(self._out, running.cell))
            folder_of(self._out, running.cell).fail(failure)
            return Answer(running.cell, None, failure)
        running.job, running.ended_at = self._started(running.cell), None
        running.attempts += 1
        return None


def _killed(number: int, folder: CellFolder) -> Failure:
    """Why there is no answer, by the number of the signal that ended the process last; 0 for none that is known."""
    names = {each.value: each.name for each in signal.Signals}
    last = f", the last time by {names.get(number, f'signal {number}')}" if number else ""
    if number == signal.SIGKILL:
        why = "Most often that is the system, which is short of memory: let fewer cells run at a time (run, workers)"
    elif number:
        why = "A library has crashed, as some do where memory is short (limits, memory)"
    else:
        why = "Memory, or time, may not be enough"
    message = f"Its process was ended {ATTEMPTS} times before it answered{last}."
    return Failure(message=message, hint=f"{why}; its output: {folder.jobs}")


def known_answer(out: Path, cell: Cell) -> Answer | None:
    """What a cell has answered; None where it has not.

    Raises:
        StorageError: Its file is damaged.
    """
    folder = folder_of(out, cell)
    if (finished := folder.finished()) is not None:
        return Answer(cell, finished)
    if (failure := folder.failure()) is not None:
        return Answer(cell, None, failure)
    return None


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    executor: Executor,
    limits: Limits,
    listen: Callable[[Answer], None],
    tick: Callable[[tuple[Cell, ...]], None] = lambda running: None,
) -> list[Answer]:
    """Run what has no result yet; one that failed before is tried again.

    Args:
        cells: In the order in which they are started.
        out: Folder of the sweep; another controller at the same one is waited for.
        executor: Where they run.
        limits: What each may use.
        listen: Told of each answer, those that were there before first.
        tick: Told what runs, every now and then.

    Returns:
        An answer for each cell, in their order.

    Raises:
        EdgeAdError: Cells cannot be started, or a file cannot be written.
        KeyboardInterrupt: Stopped; what ran is ended, and goes on next time.
    """
    folder = out / "cells"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder):
        return _run_cells(cells, out, executor, limits, listen, tick)


def _run_cells(
    cells: Sequence[Cell],
    out: Path,
    executor: Executor,
    limits: Limits,
    listen: Callable[[Answer], None],
    tick: Callable[[tuple[Cell, ...]], None],
) -> list[Answer]:
    answers: dict[str, Answer] = {}
    for cell in cells:
        if (finished := folder_of(out, cell).finished()) is not None:
            answers[cell.key] = Answer(cell, finished, is_new=False)
            listen(answers[cell.key])
    waiting = [cell for key, cell in {cell.key: cell for cell in cells}.items() if key not in answers]
    controller = Controller(out, executor, limits)
    try:
        waiting = [cell for cell in waiting if not controller.takes_over(cell)]  # before any other has their place
        while waiting or controller.running:
            while waiting and controller.has_room:
                controller.start(waiting.pop(0))
            tick(controller.running)
            for answer in controller.answers():
                answers[answer.cell.key] = answer
                listen(answer)
            controller.wait()
    except BaseException:
        controller.stop()
        raise
    return [answers[cell.key] for cell in cells]
