"""Tasks of a few milliseconds, for what holds of any cell."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_ad.errors import DataError
from edge_ad.sweeps.cell_folder import CellFolder
from edge_ad.sweeps.cells import Cell, Told, make_cell
from edge_ad.sweeps.work import THREAD_VARIABLES

__all__ = ["cell"]


def cell(name: str, **arguments: Any) -> Cell:
    """A cell that calls a function of this file."""
    return make_cell(f"tests.sweeps.tasks:{name}", arguments, {"task": name, **arguments}, group=name)


def square(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    _count(folder)
    return {"square": arguments["number"] ** 2}


def refuse(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    raise DataError("The photos are of a cat.", "Take photos of parts.")


def fail_once(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    if _count(folder) == 1:
        raise ValueError("the first time\nis no good")
    return {"times": _count(folder) - 1}


def die_once(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    if _count(folder) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"times": _count(folder) - 1}


def die(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    _count(folder)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def crash(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def eat(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    return {"eaten": len(bytearray(arguments["bytes"]))}


def surroundings(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    names = (*THREAD_VARIABLES, "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")
    return {name: os.environ.get(name) for name in names}


def wait(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """Say through one named pipe that it runs, and go on when something comes through the other."""
    times = _count(folder)
    Path(arguments["started"]).write_text("started")
    return {"told": Path(arguments["goes_on"]).read_text(), "times": times}


def hang(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """Say through the named pipe that it runs, and listen to no signal that can be listened to."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda number, frame: None)
    Path(arguments["started"]).write_text("started")
    while True:
        signal.pause()


def server_of_this_process(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    return {"server": os.getppid()}


def look_and_wait(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """The first five cells of a sweep end; the next ones are looked at, are worse, and have no end."""
    figure = 1 - arguments["values"]["noise"]
    if len(list(folder.parent.iterdir())) > 5:
        CellFolder(folder).look(1, 0.0)
        signal.pause()
    CellFolder(folder).look(1, figure)
    return {"held_out": figure}


def _count(folder: Path) -> int:
    with (folder / "calls").open("a") as file:
        file.write(".")
    return len((folder / "calls").read_text())
