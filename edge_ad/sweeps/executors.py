"""Where cells run: in this process, in local processes or on a SLURM cluster, the latter two by submitit."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from edge_ad.errors import DeviceError, EdgeAdError, UsageError, require
from edge_ad.storage import is_taken
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Limits, Told
from edge_ad.sweeps.work import THREAD_VARIABLES, run_cell, run_in_own_process

__all__ = ["Executor", "InThisProcess", "Job", "LocalProcesses", "Slurm"]

_JOB_FILE = "slurm_job"
_SECONDS_BETWEEN_QUESTIONS = 5.0
_ANSWER_S = 30.0
_END_S = 10.0


class Job(Protocol):
    """A cell that was started."""

    def is_running(self) -> bool:
        """Whether it runs, or waits for its turn."""

    def release(self) -> None:
        """Give back what it held: the cell has answered, or was ended."""

    def cancel(self) -> None:
        """End it; it goes on from its last checkpoint when it is started again."""


class Executor(Protocol):
    """Runs cells.

    Attributes:
        workers: How many it takes at the same time.
        poll_s: Seconds after which it is worth while to look again.
        settle_s: Seconds that a file may take to be seen here after its process has ended.
    """

    workers: int
    poll_s: float
    settle_s: float

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Start the cell of a folder.

        Raises:
            EdgeAdError: It cannot be started.
        """

    def adopted(self, folder: CellFolder) -> Job | None:
        """A job that an earlier controller has started and that still runs; None without one."""


class _Ended:
    """A job that holds nothing, and that nothing can end."""

    def is_running(self) -> bool:
        return False

    def release(self) -> None:
        return

    def cancel(self) -> None:
        return


class InThisProcess:
    """One cell after the other, here, without limits: what it says is shown.

    Args:
        told: Who is told.
    """

    workers, poll_s, settle_s = 1, 0.0, 0.0

    def __init__(self, told: Told) -> None:
        self._told = told

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Run it to its end."""
        run_cell(folder, self._told)
        return _Ended()

    def adopted(self, folder: CellFolder) -> Job | None:
        """None: nothing runs when this process has ended."""
        return None


class LocalProcesses:
    """Processes of this machine.

    Args:
        workers: How many cells at the same time.
        gpus: Indices of the GPUs that they share; each cell has as many of its own as its limits say.

    Raises:
        MissingDependencyError: submitit is not installed.
    """

    poll_s, settle_s = 0.1, 0.0

    def __init__(self, workers: int = 1, gpus: Sequence[int] = ()) -> None:
        require("submitit", extra="sweep")
        self.workers = workers
        self._free = list(gpus)

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Start a process for a cell.

        Raises:
            DeviceError: There are fewer GPUs than one cell is to have.
        """
        taken = self._taken(limits.gpus)
        executor = require("submitit", extra="sweep").LocalExecutor(folder.jobs, python=_python(limits))
        executor.update_parameters(timeout_min=limits.minutes, gpus_per_node=len(taken), visible_gpus=tuple(taken))
        job = executor.submit(run_in_own_process, str(folder.path))
        return _LocalJob(job, lambda: self._free.extend(taken))

    def _taken(self, count: int) -> list[int]:
        if count > len(self._free):
            raise DeviceError(
                f"A cell is to have {count} GPUs, and {len(self._free)} are free.",
                "Name as many in the file: workers times gpus of limits. run, gpus: [0, 1]",
            )
        taken, self._free = self._free[:count], self._free[count:]
        return taken

    def adopted(self, folder: CellFolder) -> Job | None:
        """A process that holds the cell's folder: one goes on when its controller was killed."""
        return _Holder(folder.path) if is_taken(folder.path) else None


class _LocalJob(_Ended):
    def __init__(self, job: Any, release: Callable[[], None]) -> None:
        self._job, self._release, self._ended = job, release, False

    def is_running(self) -> bool:
        if not self._ended and self._job.done():
            self._ended = True
            self._release()
        return not self._ended

    def release(self) -> None:
        """Wait for the end of its process, which comes at once: its GPU and its memory are another's then."""
        ends = time.monotonic() + _END_S
        while self.is_running() and time.monotonic() < ends:
            time.sleep(LocalProcesses.poll_s / 4)

    def cancel(self) -> None:
        if self.is_running():
            os.kill(int(self._job.job_id), signal.SIGTERM)  # it passes it on to the cell


class _Holder(_Ended):
    """Another process that runs a cell; who it is nothing says."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_running(self) -> bool:
        return is_taken(self._path)


class Slurm:
    """A SLURM cluster whose nodes see this folder under the same path.

    Args:
        workers: How many jobs wait or run at the same time.
        options: Of sbatch, in its own words: ``partition``, ``account``, ``qos``, ``constraint`` and others.

    Raises:
        MissingDependencyError: submitit is not installed.
        DeviceError: There is no SLURM on this machine.
        UsageError: An option that submitit does not pass on.
    """

    poll_s, settle_s = 0.5, 5.0

    def __init__(self, workers: int = 100, options: Mapping[str, str | int] | None = None) -> None:
        require("submitit", extra="sweep")
        if shutil.which("sbatch") is None:
            raise DeviceError("There is no SLURM on this machine (no sbatch).", "Run it where sbatch is, or locally.")
        self.workers = workers
        self._options = dict(options or {})
        self._alive: frozenset[str] = frozenset()
        self._asked_at = float("-inf")

    def start(self, folder: CellFolder, limits: Limits) -> Job:
        """Submit a job for a cell.

        Raises:
            EdgeAdError: The cluster does not take it.
            UsageError: An option that submitit does not know.
        """
        executor = require("submitit", extra="sweep").SlurmExecutor(folder.jobs, python=_python(limits))
        memory = {} if limits.memory_bytes is None else {"mem": f"{limits.memory_bytes >> 20}M"}
        gpus = {"gpus_per_node": limits.gpus} if limits.gpus else {}
        own = {"time": limits.minutes, "cpus_per_task": limits.cores, "job_name": "edge-ad", **memory, **gpus}
        try:
            executor.update_parameters(**own, **self._options)
        except (ValueError, TypeError, NameError) as error:
            raise UsageError(f"SLURM options: {str(error).splitlines()[0]}", "run, slurm: partition: NAME") from error
        try:
            job = executor.submit(run_in_own_process, str(folder.path))
        except Exception as error:  # submitit's own, with what sbatch said
            raise EdgeAdError(
                f"sbatch refused a cell: {_last_line(error)}", "Look at limits and at run, slurm."
            ) from error
        (folder.jobs / _JOB_FILE).write_text(job.job_id, encoding="utf-8")
        self._asked_at = float("-inf")
        return _SlurmJob(self, job.job_id)

    def adopted(self, folder: CellFolder) -> Job | None:
        """A job of the cell that squeue still has."""
        with suppress(OSError):
            job = (folder.jobs / _JOB_FILE).read_text(encoding="utf-8").strip()
            if job in self.alive():
                return _SlurmJob(self, job)
        return None

    def alive(self) -> frozenset[str]:
        """Ids of this user's jobs that wait or run; asked for once in a while, and kept where nobody answers."""
        if time.monotonic() - self._asked_at > _SECONDS_BETWEEN_QUESTIONS:
            command = ["squeue", "--me", "--noheader", "--format=%i"]
            with suppress(OSError, subprocess.SubprocessError):
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_S)
                self._alive = frozenset(done.stdout.split())
            self._asked_at = time.monotonic()
        return self._alive


class _SlurmJob(_Ended):
    def __init__(self, cluster: Slurm, job: str) -> None:
        self._cluster, self._job = cluster, job

    def is_running(self) -> bool:
        return self._job in self._cluster.alive()

    def cancel(self) -> None:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", self._job], capture_output=True, check=False, timeout=_ANSWER_S)


def _python(limits: Limits) -> str:
    """The command of Python for a cell: libraries read the number of their threads once, before any line of ours."""
    return shlex.join(["env", *(f"{name}={limits.cores}" for name in THREAD_VARIABLES), sys.executable])


def _last_line(error: Exception) -> str:
    text = os.fsdecode(getattr(error, "stderr", None) or b"") or str(error)
    return text.strip().splitlines()[-1] if text.strip() else type(error).__name__
