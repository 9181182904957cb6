"""Run a table: train and measure what is missing, as cells of a sweep, and write the table after each."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_ad.errors import DataError, UsageError
from edge_ad.reproduction.cell_task import sweep_cell
from edge_ad.reproduction.datasets import DATASETS
from edge_ad.reproduction.document import write_document
from edge_ad.reproduction.plan import Cell, Chosen, Folders, check_counts, folders_of, is_measured, planned
from edge_ad.reproduction.recipes import Options
from edge_ad.reproduction.rows import append_row, read_rows
from edge_ad.reproduction.tables import Table
from edge_ad.reproduction.training import parse_choice
from edge_ad.sweeps.cells import Limits, Told
from edge_ad.sweeps.controller import Answer, folder_of, run_cells
from edge_ad.sweeps.executors import Executor, InThisProcess
from edge_ad.sweeps.local_processes import LocalProcesses
from edge_ad.training.precision import choose_device

__all__ = ["ROWS_FILE", "Reproduction", "reproduce", "shared_gpus"]

ROWS_FILE = "rows.jsonl"
_MINUTES = 60 * 24 * 60  # of one cell: some take days


@dataclass(frozen=True)
class Reproduction:
    """What is there after a run.

    Attributes:
        markdown: The table.
        record: The same as JSON.
        failed: What could not be run, in words.
    """

    markdown: Path
    record: Path
    failed: tuple[str, ...]


def shared_gpus(device: str) -> tuple[int, ...]:
    """The GPUs of ``cuda:0,cuda:1``; none where one device is named.

    Raises:
        DeviceError: One of them is not there.
        UsageError: Something that is not a GPU is named among them.
    """
    names = list(dict.fromkeys(name for each in device.split(",") if (name := each.strip())))
    if len(names) < 2:
        return ()
    if wrong := [name for name in names if not name.startswith("cuda:")]:
        raise UsageError(f"{wrong[0]} cannot share a table with other devices.", "--device cuda:0,cuda:1")
    return tuple(choose_device(name).index for name in names)


def reproduce(
    table: Table,
    chosen: Chosen,
    out: Path,
    options: Options,
    told: Told,
    *,
    accept_counts: bool = False,
    executor: Executor | None = None,
) -> Reproduction:
    """Train and measure what a table needs and is not there yet.

    A cell that fails is told, and the others are run. Another process that works on the folder is waited for.

    Args:
        table: The table.
        chosen: What of it.
        out: Folder of runs, rows and tables; other tables share it.
        options: How; several GPUs share the cells, a process for each.
        told: Who is told.
        accept_counts: Go on where the photos are not as many as published; a table that is only tried out does anyway.
        executor: Where cells run; by default in this process, or in one for each GPU.

    Raises:
        DataError: Photos are missing, or not as many as published.
        UsageError: Something is asked for that there is not.
        StorageError: A row or the table cannot be written.
    """
    gpus = shared_gpus(options.device)
    if gpus:
        options = dataclasses.replace(options, device="cuda")
    folders = _prepared(table, chosen, options, told, accept_counts=accept_counts)
    cells = planned(table, folders, chosen, options)
    if executor is None:
        executor = LocalProcesses(len(gpus), gpus) if gpus else InThisProcess(told)
    limits = Limits(cores=max(1, (os.cpu_count() or 1) // executor.workers), gpus=min(1, len(gpus)), minutes=_MINUTES)
    failed = _run_missing(table, cells, folders, out, options, told, executor, limits)
    markdown, record = write_document(table, out, read_rows(out / ROWS_FILE), options)
    return Reproduction(markdown, record, tuple(failed))


def _run_missing(
    table: Table,
    cells: Sequence[Cell],
    folders: Folders,
    out: Path,
    options: Options,
    told: Told,
    executor: Executor,
    limits: Limits,
) -> list[str]:
    """Run what has no row; returns what failed, in words."""
    rows, work = read_rows(out / ROWS_FILE), []
    for number, cell in enumerate(cells, 1):
        if not is_measured(cell, rows, table.shift_kinds):
            words = f"{DATASETS[cell.dataset].name} {cell.category}: {cell.label} ({number} of {len(cells)})"
            photos = folders[cell.dataset, cell.category]
            work.append(sweep_cell(cell, words, photos, out, options, table.shift_kinds))
    failed: list[str] = []

    def listen(answer: Answer) -> None:
        if answer.finished is not None:
            append_row(out / ROWS_FILE, answer.finished.result)
            shutil.rmtree(folder_of(out, answer.cell).path)
        elif (failure := answer.failure) is not None:
            words = answer.cell.words.rpartition(" (")[0]
            failed.append(f"{words}: {failure.message} {failure.hint}".rstrip())
            told.note(f"warning: {failed[-1]}")
        write_document(table, out, read_rows(out / ROWS_FILE), options)

    run_cells(work, out, executor, limits, listen)
    return failed


def _prepared(table: Table, chosen: Chosen, options: Options, told: Told, *, accept_counts: bool) -> Folders:
    choose_device(options.device)
    parse_choice(options.choose)
    if options.textures is not None and not options.textures.is_dir():
        raise UsageError(f"No such folder: {options.textures}.", "--textures DTD/images")
    folders = folders_of(table, chosen)
    if not options.quick:
        _, problems = check_counts(folders)
        for problem in problems:
            if not accept_counts:
                raise DataError(problem, "Copy the data set again, or go on with it: --accept-counts")
            told.note(f"warning: {problem}")
    return folders
