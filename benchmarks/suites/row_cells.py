"""Rows of a table as cells of a sweep: what the file has is not measured again, and the rest goes on where it was.

The cells of ``rows.jsonl`` work in ``rows.cells`` beside it. A cell's folder goes when its rows are in the file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.suites.record import append_row, read_lines, rounded
from edge_ad.strict_json import to_json
from edge_ad.sweeps.cells import Cell, Limits, Told, make_cell
from edge_ad.sweeps.controller import Answer, folder_of, run_cells
from edge_ad.sweeps.executors import Executor, InThisProcess
from edge_ad.sweeps.local_processes import LocalProcesses

__all__ = ["add_cell_options", "measure_missing", "row_cell"]


def row_cell(task: str, labels: Mapping[str, Any], **more: Any) -> Cell:
    """The cell of a row, or of rows that are measured together.

    Args:
        task: ``package.module:function``; its arguments are labels and ``more``.
        labels: The names that tell rows apart.
        more: What else the task needs.
    """
    group = str(labels.get("method", labels.get("mask", "")))
    return make_cell(task, {**labels, **more}, labels, group=group)


def add_cell_options(parser: argparse.ArgumentParser) -> None:
    """``--workers`` and ``--cores``."""
    parser.add_argument("--workers", type=int, default=1, help="processes; 0 measures in this one")
    parser.add_argument("--cores", type=int, default=len(_cores()), help="of a process")


def measure_missing(
    cells: Sequence[Cell],
    key: Sequence[str],
    chosen: argparse.Namespace,
    rows_of: Callable[[Cell], Sequence[Mapping[str, Any]]] = lambda cell: [cell.labels],
) -> int:
    """Measure the rows that ``chosen.out`` does not have, and append them as they come.

    Args:
        cells: Their labels hold the values of ``key``. A result is a row, or has several under ``rows``.
        key: Names that tell rows apart.
        chosen: ``out``, ``workers`` and ``cores``.
        rows_of: What tells the rows of a cell apart; it is measured where one of them is missing.

    Returns:
        How many cells failed.
    """

    def values_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in key)

    done = {values_of(row) for row in read_lines(chosen.out)}
    left = [cell for cell in cells if not all(values_of(row) in done for row in rows_of(cell))]
    folder, failed = chosen.out.with_suffix(".cells"), list[Cell]()

    def listen(answer: Answer) -> None:
        if answer.finished is None:
            assert answer.failure is not None
            failed.append(answer.cell)
            said = [answer.failure.message, answer.failure.hint, *answer.failure.trace]
            print(f"error: {answer.cell.words}:", *filter(None, said), sep="\n  ", file=sys.stderr, flush=True)
            return
        rows: Any = answer.finished.result.get("rows", [answer.finished.result])
        for row in rows:
            if values_of(row) not in done:
                done.add(values_of(row))
                append_row(chosen.out, row)
                print(to_json(rounded(row)), flush=True)
        shutil.rmtree(folder_of(folder, answer.cell).path)

    run_cells(left, folder, _executor(chosen.workers), Limits(cores=chosen.cores), listen)
    if not failed:
        shutil.rmtree(folder)
    return len(failed)


def _executor(workers: int) -> Executor:
    if workers:
        return LocalProcesses(workers)
    return InThisProcess(Told(lambda text: None, lambda report: None, lambda done, total: None))


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
