"""A real SLURM of one node in a folder: munged, slurmctld and slurmd of Debian's slurm-wlm and munge, for one test."""

from __future__ import annotations

import os
import platform
import secrets
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from benchmarks.local_program import free_port

__all__ = ["missing_programs", "one_node_slurm"]

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue")
_CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> str:
    """Why there can be no SLURM here; empty where there can."""
    if os.geteuid() != 0:
        return "slurmd starts jobs as root alone"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"no {', '.join(missing)}: apt-get install slurm-wlm munge" if missing else ""


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


@contextmanager
def one_node_slurm(folder: Path) -> Iterator[Path]:
    """Start it, and end it with all its jobs.

    Args:
        folder: An empty folder with a short path; sockets and logs are in it.

    Yields:
        The configuration, for ``SLURM_CONF``.
    """
    configuration = _configured(folder)
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": _path()}
    key, pipe, seed = (folder / f"munge.{name}" for name in ("key", "socket", "seed"))
    munge = [f"--key-file={key}", f"--socket={pipe}", f"--seed-file={seed}"]
    munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log"]
    with ExitStack() as running:
        running.callback(_end, folder / "munge.pid")
        subprocess.run(["munged", "--force", *munge], env=environment, check=True, capture_output=True)
        for name in ("slurmctld", "slurmd"):
            running.callback(_end, folder / f"{name}.pid")
            subprocess.run([name, "-f", str(configuration)], env=environment, check=True, capture_output=True)
        ready = ["srun", "--time=1", "--immediate=60", "true"]
        subprocess.run(ready, env=environment, check=True, capture_output=True, timeout=90)
        alone = ["srun", "--exclusive", "--time=1", "true"]  # has its turn when no other job is left
        running.callback(subprocess.run, alone, env=environment, check=False, capture_output=True, timeout=90)
        running.callback(subprocess.run, ["scancel", "--full", "--user=root"], env=environment, check=False)
        yield configuration


def _configured(folder: Path) -> Path:
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    path = folder / "slurm.conf"
    host = platform.node().partition(".")[0]
    given = {"controller_port": free_port(), "node_port": free_port()}
    path.write_text(_CONFIGURATION.format(host=host, user="root", folder=folder, **given))
    return path


def _end(pid_file: Path) -> None:
    """End a daemon, and wait until it is gone: it writes into its folder until then."""
    with suppress(OSError, ValueError):
        daemon = os.pidfd_open(int(pid_file.read_text()))
        signal.pidfd_send_signal(daemon, signal.SIGTERM)
        select.select([daemon], [], [], 30.0)
        os.close(daemon)
