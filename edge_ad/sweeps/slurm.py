"""Cells as jobs of a SLURM cluster, by submitit."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from edge_ad.errors import DeviceError, EdgeAdError, UsageError, require
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Limits
from edge_ad.sweeps.executors import Job
from edge_ad.sweeps.work import THREAD_VARIABLES, run_in_own_process

__all__ = ["Slurm"]

_JOB_FILE = "slurm_job"
_SECONDS_BETWEEN_QUESTIONS = 5.0
_SECONDS_BETWEEN_LOOKS = 0.5
_ANSWER_S = 30.0
_SECONDS_BETWEEN_TRIES = (5.0, 20.0, 60.0)
_BUSY = ("timed out", "Unable to contact slurm controller", "temporarily unable", "try again later")


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

    settle_s = 5.0

    def __init__(self, workers: int = 100, options: Mapping[str, str | int] | None = None) -> None:
        require("submitit", extra="sweep")
        if shutil.which("sbatch") is None:
            raise DeviceError("There is no SLURM on this machine (no sbatch).", "Run it where sbatch is, or locally.")
        self.workers = workers
        self._options = dict(options or {})
        self._alive: frozenset[str] = frozenset()
        self._asked_at = self._answered_at = float("-inf")

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
        job = _submitted(executor, folder)
        (folder.jobs / _JOB_FILE).write_text(job.job_id, encoding="utf-8")
        return _SlurmJob(self, job.job_id, time.monotonic())

    def adopted(self, folder: CellFolder) -> Job | None:
        """A job of the cell that squeue still has.

        Raises:
            DeviceError: squeue has not answered yet, so the job might be started twice.
        """
        try:
            job = (folder.jobs / _JOB_FILE).read_text(encoding="utf-8").strip()
        except OSError:
            return None
        if job in self.alive():
            return _SlurmJob(self, job, time.monotonic())
        if self._answered_at == float("-inf"):
            raise DeviceError("squeue does not answer: what still runs is not known.", "Try again when it does.")
        return None

    def wait(self) -> None:
        """Half a second: a cell's files are looked at as often."""
        time.sleep(_SECONDS_BETWEEN_LOOKS)

    def alive(self) -> frozenset[str]:
        """Ids of this user's jobs that wait or run; asked for once in a while, and kept where nobody answers."""
        now = time.monotonic()
        if now - self._asked_at > _SECONDS_BETWEEN_QUESTIONS:
            command = ["squeue", "--me", "--noheader", "--format=%i"]
            with suppress(OSError, subprocess.SubprocessError):
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_S)
                self._alive, self._answered_at = frozenset(done.stdout.split()), now
            self._asked_at = now
        return self._alive

    def has(self, job: str, submitted_at: float) -> bool:
        """Whether a job waits or runs, or squeue has not been asked with success since it was submitted.

        Args:
            job: Its id.
            submitted_at: By `time.monotonic`.
        """
        return job in self.alive() or self._answered_at < submitted_at


class _SlurmJob:
    def __init__(self, cluster: Slurm, job: str, submitted_at: float) -> None:
        self._cluster, self._job, self._submitted_at = cluster, job, submitted_at

    def is_running(self) -> bool:
        return self._cluster.has(self._job, self._submitted_at)

    def ended_by(self) -> int:
        return 0  # its log says more than squeue

    def cancel(self) -> None:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", self._job], capture_output=True, check=False, timeout=_ANSWER_S)

    def release(self) -> None:
        return


def _submitted(executor: Any, folder: CellFolder) -> Any:
    """The job of a cell. A busy controller is asked again: a job that it has taken all the same finds the other one."""
    for wait_s in (*_SECONDS_BETWEEN_TRIES, None):
        try:
            return executor.submit(run_in_own_process, str(folder.path))
        except Exception as error:  # submitit's own, with what sbatch said
            said = _last_line(error)
            if wait_s is None or not any(words in said for words in _BUSY):
                raise EdgeAdError(f"sbatch refused a cell: {said}", "Look at limits and at run, slurm.") from error
            time.sleep(wait_s)
    raise AssertionError


def _python(limits: Limits) -> str:
    """The command of Python for a cell: libraries read the number of their threads once, before any line of ours."""
    return shlex.join(["env", *(f"{name}={limits.cores}" for name in THREAD_VARIABLES), sys.executable])


def _last_line(error: Exception) -> str:
    text = os.fsdecode(getattr(error, "stderr", None) or b"") or str(error)
    return text.strip().splitlines()[-1] if text.strip() else type(error).__name__
