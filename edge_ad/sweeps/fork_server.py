"""Forks a process for each cell out of one that has imported what cells need: none of them waits for imports.

    python -m edge_ad.sweeps.fork_server

Orders come on stdin, a line of JSON each, and the number of the cell's process goes to stdout; so do questions about
such a process, and the number of the signal that ended it. It ends with its stdin;
the cells go on. It imports and computes nothing: threads of a computation would be lost in the fork.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from pydantic import TypeAdapter

from edge_ad.document import Document
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.work import run_in_own_process, stop_by_signal

__all__ = ["EndQuestion", "ForkOrder", "main"]

_OF_THE_FIRST_OPTIMISER = "torch._dynamo"  # imported by torch when one is made: as long as torch itself
_SECONDS_TO_SAVE = 30.0


class ForkOrder(Document):
    """A process for a cell.

    Attributes:
        folder: Of the cell, with its order.
        gpus: Indices of the GPUs that it sees.
        seconds: After which it is gone; asked to end half a minute before, or half of it where that is less.
    """

    folder: Path
    gpus: tuple[int, ...]
    seconds: float


class EndQuestion(Document):
    """What ended a process that was started here.

    Attributes:
        process: Its number.
    """

    process: int


_ASKED = TypeAdapter[ForkOrder | EndQuestion](ForkOrder | EndQuestion)


def main() -> None:
    """Serve until stdin ends; a process of a cell returns when its cell has answered."""
    atexit.register(_leave, os.getpid())  # the first one is called last
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        signals: dict[int, int] = {}
        for line in sys.stdin:
            asked = _ASKED.validate_json(line)
            if isinstance(asked, ForkOrder):
                _import_task(CellFolder(asked.folder).order().cell.task)
            signals.update(_reaped())
            if isinstance(asked, EndQuestion):
                answers.write(f"{signals.pop(asked.process, 0)}\n")
            elif process := os.fork():
                signals.pop(process, None)  # of an earlier one with this number
                answers.write(f"{process}\n")
            else:
                break
            answers.flush()
        else:
            return
    _run(asked)


def _leave(server: int) -> None:
    """End the process of a cell here: to take the interpreter down would copy all that it shares with the server."""
    if os.getpid() != server:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _import_task(task: str) -> None:
    """Import what the cell calls; it says itself what is wrong with that."""
    module = task.partition(":")[0]
    if module in sys.modules:
        return
    with suppress(Exception):
        importlib.import_module(module)
        if "torch" in sys.modules:
            importlib.import_module(_OF_THE_FIRST_OPTIMISER)
    gc.collect()
    gc.freeze()  # a collection in a cell would write to pages that all share


def _reaped() -> dict[int, int]:
    """Let go of cells that have ended; until then no other process has their numbers.

    Returns:
        Number of a process → that of the signal that ended it; 0 for none.
    """
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.WTERMSIG(found[1]) if os.WIFSIGNALED(found[1]) else 0
    return ended


def _run(order: ForkOrder) -> None:
    folder = CellFolder(order.folder)
    _redirect(folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, order.gpus))
    faulthandler.enable()  # a library that crashes is named in the log
    faulthandler.dump_traceback_later(order.seconds, exit=True)  # even where no line of Python is reached any more
    signal.signal(signal.SIGALRM, stop_by_signal)
    signal.setitimer(signal.ITIMER_REAL, order.seconds - min(_SECONDS_TO_SAVE, order.seconds / 2))
    run_in_own_process(str(order.folder), order.gpus)


def _redirect(folder: CellFolder) -> None:
    """Read nothing, and write to the log of this process."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with _log(folder) as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)


def _log(folder: CellFolder) -> TextIO:
    folder.jobs.mkdir(parents=True, exist_ok=True)
    return (folder.jobs / f"{os.getpid()}.log").open("a", encoding="utf-8")


if __name__ == "__main__":
    main()
