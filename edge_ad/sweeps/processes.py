"""Processes of this machine that need not be children of this one, by Linux's descriptors of processes."""

from __future__ import annotations

import os
import platform
import select
import signal
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edge_ad.errors import DeviceError

__all__ = ["Process", "check_processes", "process_space", "wait_for_an_end"]


def process_space() -> str:
    """Where the number of a process names it: a machine, and a container on it."""
    with suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    return platform.node()


def check_processes() -> None:
    """Refuse a system that has no descriptors of processes.

    Raises:
        DeviceError: It is not Linux, or older than 5.3.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        raise DeviceError("Cells are processes on Linux 5.3 and newer.", "Run the sweep there, or by SLURM.") from error


class Process:
    """A process; no other one is taken for it when its number is given again.

    Args:
        number: Of it, while it is there.

    Attributes:
        number: Of it; another one's, perhaps, when it has ended.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.descriptor: int | None = None
        with suppress(ProcessLookupError):
            self.descriptor = os.pidfd_open(number)
            weakref.finalize(self, os.close, self.descriptor)

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it has ended, or ends within some seconds."""
        return wait_for_an_end([self], within_s)

    def send(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, number)


def wait_for_an_end(processes: Iterable[Process], within_s: float) -> bool:
    """Wait until one of them has ended; whether one has.

    Args:
        processes: Where there are none, the time is waited for.
        within_s: How long, at most.
    """
    watch, there = select.poll(), [process.descriptor for process in processes]
    if None in there:
        return True
    for descriptor in there:
        watch.register(descriptor or 0, select.POLLIN)
    if not there:
        time.sleep(within_s)
    return bool(watch.poll(1000 * within_s)) if there else False
