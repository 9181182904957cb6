"""What the engine of sweeps costs beside a plain shell loop over the same trainings, measured in turns.

    python -m benchmarks.sweep_overhead --work DIR --out sweep_overhead.jsonl [--rounds 3] [--size 256 --good 40]

All run the same cells, one after the other: ``loop`` is a ``for`` of sh that starts Python for each cell, ``sweep`` the
engine with one local worker, ``commands`` what users would write, ``edge-ad train`` and ``edge-ad evaluate`` for each
cell, and ``one_process`` a ``for`` of Python in one process. Rounds take turns, since a busy machine slows all.
``overhead_s`` is what a cell takes more than by the loop; ``ratio`` is the time of the sweep over that of the loop, and
so on.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.suites.record import append_row, now
from benchmarks.sweep_acceptance import sweep_file
from edge_ad.sweeps.cell_folder import Order
from edge_ad.sweeps.cells import Cell, Limits
from edge_ad.sweeps.controller import folder_of, run_cells
from edge_ad.sweeps.local_processes import LocalProcesses
from edge_ad.sweeps.plan import plan_cells
from edge_ad.sweeps.specification import read_sweep_file

_CELLS = 5  # of one product and seed: every method once
_ONE = "import sys; from edge_ad.sweeps.work import run_in_own_process; run_in_own_process(sys.argv[1])"
_ALL = """
import json, sys
from pathlib import Path
from edge_ad.sweeps.cells import Told, make_cell, task_of

told = Told(lambda text: None, lambda report: None, lambda done, total: None)
for (task, arguments), folder in zip(json.loads(sys.argv[1]), sys.argv[2:]):
    task_of(make_cell(task, arguments, {}, group=""))(arguments, Path(folder), told)
"""
_THREADS = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1"


def by_sweep(cells: list[Cell], out: Path) -> None:
    """All cells by the engine."""
    answers = run_cells(cells, out, LocalProcesses(1), Limits(), lambda answer: None)
    assert all(answer.finished is not None for answer in answers)


def by_loop(cells: list[Cell], out: Path) -> None:
    """All cells by a loop of the shell."""
    for cell in cells:
        folder_of(out, cell).give(Order(cell=cell, limits=Limits()))
    folders = " ".join(shlex.quote(str(folder_of(out, cell).path)) for cell in cells)
    _shell(f'for cell in {folders}; do {shlex.quote(sys.executable)} -c {shlex.quote(_ONE)} "$cell"; done')
    assert all(folder_of(out, cell).finished() is not None for cell in cells)


def by_one_process(cells: list[Cell], out: Path) -> None:
    """All cells in one process, which imports what they need once."""
    for cell in cells:
        (folder_of(out, cell).path).mkdir(parents=True)
    folders = " ".join(shlex.quote(str(folder_of(out, cell).path)) for cell in cells)
    orders = shlex.quote(json.dumps([[cell.task, cell.arguments] for cell in cells]))
    _shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(_ALL)} {orders} {folders}")


def by_commands(cells: list[Cell], out: Path) -> None:
    """All cells by the commands that users have."""
    program = f"{shlex.quote(sys.executable)} -m edge_ad"
    for cell in cells:
        arguments: Any = cell.arguments
        given = " ".join(f"-p {name}={value}" for name, value in arguments["values"].items())
        data, name = shlex.quote(arguments["product"]), f"{out.name}-{cell.key}"
        train = f"{program} train {arguments['method']} --data {data} --runs {out} --name {name} {given} --workers 0"
        _shell(f"{train} --no-check-photos && {program} evaluate {out / name} --data {data} --json")


def _shell(script: str) -> None:
    subprocess.run(["sh", "-c", f"export {_THREADS}; {script}"], check=True, capture_output=True)


def _ratio(seconds: dict[str, list[float]], other: str) -> float:
    return median(ours / theirs for ours, theirs in zip(seconds["sweep"], seconds[other], strict=True))


def main() -> None:
    """Measure in turns, and append the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("sweep_overhead.jsonl"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="of photos and input, in pixels")
    parser.add_argument("--good", type=int, default=10, help="photos of good parts")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    cells = plan_cells(read_sweep_file(sweep_file(work, size=chosen.size, good=chosen.good)))[:_CELLS]
    ways = {"sweep": by_sweep, "loop": by_loop, "commands": by_commands, "one_process": by_one_process}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    by_loop(cells, work / "warm-up")  # features are in the cache for all
    for number in range(chosen.rounds):
        turn = list(ways.items())
        for name, run in turn[number % len(turn) :] + turn[: number % len(turn)]:
            began = time.monotonic()
            run(cells, work / f"{name}-{number}")
            seconds[name].append(time.monotonic() - began)
    row = {
        "kind": "sweep_overhead",
        "recorded": now(),
        "cells": len(cells),
        "size": chosen.size,
        "good": chosen.good,
        "seconds": seconds,
        "overhead_s": median((a - b) / len(cells) for a, b in zip(seconds["sweep"], seconds["loop"], strict=True)),
        "ratio": _ratio(seconds, "loop"),
        "ratio_to_commands": _ratio(seconds, "commands"),
        "ratio_to_one_process": _ratio(seconds, "one_process"),
    }
    append_row(chosen.out, row)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
