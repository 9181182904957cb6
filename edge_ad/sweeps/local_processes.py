"""Cells as processes of this machine, each forked by the server of `fork_server`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from edge_ad.errors import DeviceError, EdgeAdError
from edge_ad.storage import is_taken
from edge_ad.strict_json import to_json
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Limits
from edge_ad.sweeps.executors import Job
from edge_ad.sweeps.fork_server import EndQuestion, ForkOrder
from edge_ad.sweeps.processes import Process, check_processes, process_space, wait_for_an_end
from edge_ad.sweeps.work import THREAD_VARIABLES

__all__ = ["ForkServer", "LocalProcesses"]

_SECONDS_BETWEEN_LOOKS = 0.1
_END_S = 10.0


class ForkServer:
    """The process that forks those of cells; ended with this object, which ends none of them.

    Args:
        cores: Threads of each cell: libraries read their number once, when they are loaded.
    """

    def __init__(self, cores: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge_ad.sweeps.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(cores))},
            start_new_session=True,  # Ctrl-C is for the controller: it ends the cells
            text=True,
        )
        self._end = weakref.finalize(self, _end, self._process)

    def start(self, order: ForkOrder) -> Process:
        """Start the process of a cell.

        Raises:
            EdgeAdError: The server was ended.
        """
        with self._or_stopped():
            return Process(self._answer(order))

    def signal_of(self, process: Process) -> int:
        """Number of the signal that ended a process; 0 for none, and where the server is gone."""
        with suppress(EdgeAdError), self._or_stopped():
            return self._answer(EndQuestion(process=process.number))
        return 0

    def _answer(self, asked: ForkOrder | EndQuestion) -> int:
        _pipe(self._process.stdin).write(f"{to_json(asked)}\n")
        _pipe(self._process.stdin).flush()
        return int(_pipe(self._process.stdout).readline())

    @contextmanager
    def _or_stopped(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            self.stop()
            raise EdgeAdError("The process that starts cells was ended.", "Is there memory enough?") from error
        except BaseException:  # Ctrl-C: no cell is to start of which nobody knows, and no answer to wait for another
            self.stop()
            raise

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._end()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _end(server: subprocess.Popen[str]) -> None:
    server.communicate()  # its stdin ends, and so does it


class LocalProcesses:
    """Processes of this machine.

    Args:
        workers: How many cells at the same time.
        gpus: Indices of the GPUs that they share; each cell has as many of its own as its limits say.

    Raises:
        DeviceError: This system is not Linux, or older than 5.3.
    """

    settle_s = 0.0

    def __init__(self, workers: int = 1, gpus: Sequence[int] = ()) -> None:
        check_processes()
        self.workers = workers
        self._free = list(gpus)
        self._servers: dict[int, ForkServer] = {}
        self._jobs: list[_LocalJob] = []

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Start a process for a cell.

        Raises:
            DeviceError: There are fewer GPUs than one cell is to have.
            EdgeAdError: The process that starts cells is ended time and again.
        """
        gpus = self._taken(limits.gpus)
        order = ForkOrder(folder=folder.path, gpus=tuple(gpus), seconds=60.0 * limits.minutes)
        process = self._process(order, limits.cores)
        return self._job(process, gpus, self._servers[limits.cores])

    def adopted(self, folder: CellFolder) -> Job | None:
        """A process that holds the cell's folder: one goes on when its controller was killed."""
        holder = folder.holder() if is_taken(folder.path) else None
        if holder is None or holder.space != process_space():
            return None
        gpus = [gpu for gpu in holder.gpus if gpu in self._free]
        self._free = [gpu for gpu in self._free if gpu not in gpus]
        return self._job(Process(holder.process), gpus)

    def wait(self) -> None:
        """Until a cell's process ends, a tenth of a second at most: a cell may answer before its process has ended."""
        wait_for_an_end([job.process for job in self._jobs], _SECONDS_BETWEEN_LOOKS)

    def _process(self, order: ForkOrder, cores: int) -> Process:
        try:
            return self._server(cores).start(order)
        except EdgeAdError:  # something has killed it: once more
            del self._servers[cores]
            return self._server(cores).start(order)

    def _server(self, cores: int) -> ForkServer:
        if cores not in self._servers:
            self._servers[cores] = ForkServer(cores)
        return self._servers[cores]

    def _job(self, process: Process, gpus: list[int], server: ForkServer | None = None) -> _LocalJob:
        job = _LocalJob(self, process, gpus, server)
        self._jobs.append(job)
        return job

    def _taken(self, count: int) -> list[int]:
        if count > len(self._free):
            raise DeviceError(
                f"A cell is to have {count} GPUs, and {len(self._free)} are free.",
                "Name as many in the file: workers times gpus of limits. run, gpus: [0, 1]",
            )
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def take_back(self, job: _LocalJob, gpus: Sequence[int]) -> None:
        """Take the GPUs of a job that has ended."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._free.extend(gpus)


class _LocalJob:
    def __init__(self, owner: LocalProcesses, process: Process, gpus: Sequence[int], server: ForkServer | None) -> None:
        self._owner, self.process, self._gpus, self._server = owner, process, gpus, server

    def is_running(self) -> bool:
        if self.process.has_ended():
            self._owner.take_back(self, self._gpus)
            return False
        return True

    def ended_by(self) -> int:
        return 0 if self._server is None else self._server.signal_of(self.process)

    def cancel(self) -> None:
        self.process.send(signal.SIGTERM)

    def release(self) -> None:
        """See its process end: its GPU and its memory are another's then."""
        if not self.process.has_ended(_END_S):
            self.process.send(signal.SIGKILL)
            self.process.has_ended(_END_S)
        self._owner.take_back(self, self._gpus)
