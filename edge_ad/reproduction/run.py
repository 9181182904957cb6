"""Run a table: train and measure what is missing, cell by cell, and write the table after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge_ad import __version__
from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.reproduction.datasets import DATASETS
from edge_ad.reproduction.document import write_document
from edge_ad.reproduction.measuring import measure_run
from edge_ad.reproduction.plan import Cell, Chosen, Folders, check_counts, folders_of, is_measured, planned
from edge_ad.reproduction.recipes import Options
from edge_ad.reproduction.rows import append_row, read_rows
from edge_ad.reproduction.tables import Table
from edge_ad.reproduction.training import Listener, Workshop, parse_choice
from edge_ad.storage import one_at_a_time
from edge_ad.training.precision import choose_device
from edge_ad.training.runs import package_versions

__all__ = ["ROWS_FILE", "Reproduction", "Told", "collected", "reproduce"]

ROWS_FILE = "rows.jsonl"


@dataclass(frozen=True)
class Told:
    """Who is told what.

    Attributes:
        note: Words on what is done.
        epoch: After each epoch of a training.
        progress: Test photos done, and in all.
    """

    note: Callable[[str], None]
    epoch: Listener
    progress: Callable[[int, int], None]


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


def reproduce(
    table: Table, chosen: Chosen, out: Path, options: Options, told: Told, *, accept_counts: bool = False
) -> Reproduction:
    """Train and measure what a table needs and is not there yet.

    A cell that fails is told, and the others are run. Several processes may work on one folder: each waits for a cell
    that another one is at, and then takes its row.

    Args:
        table: The table.
        chosen: What of it.
        out: Folder of runs, rows and tables; other tables share it.
        options: How.
        told: Who is told.
        accept_counts: Go on where the photos are not as many as published; a table that is only tried out does anyway.

    Raises:
        DataError: Photos are missing, or not as many as published.
        UsageError: Something is asked for that there is not.
        StorageError: A row or the table cannot be written.
    """
    folders = _prepared(table, chosen, out, options, told, accept_counts=accept_counts)
    cells = planned(table, folders, chosen, options)
    failed: list[str] = []
    for number, cell in enumerate(cells, 1):
        words = f"{DATASETS[cell.dataset].name} {cell.category}: {cell.label}"
        try:
            with one_at_a_time(_lock_folder(out, cell)):
                if not is_measured(cell, read_rows(out / ROWS_FILE), table.shift_kinds):
                    told.note(f"{words} ({number} of {len(cells)})")
                    _run_cell(cell, folders, out, options, told, table.shift_kinds)
        except EdgeAdError as error:
            failed.append(f"{words}: {error}")
            told.note(f"warning: {failed[-1]}")
        write_document(table, out, read_rows(out / ROWS_FILE), options)
    markdown, record = write_document(table, out, read_rows(out / ROWS_FILE), options)
    return Reproduction(markdown, record, tuple(failed))


def collected(table: Table, out: Path, options: Options) -> Reproduction:
    """The table of what has been measured so far; nothing is run.

    Raises:
        StorageError: It cannot be written.
    """
    markdown, record = write_document(table, out, read_rows(out / ROWS_FILE), options)
    return Reproduction(markdown, record, ())


def _prepared(table: Table, chosen: Chosen, out: Path, options: Options, told: Told, *, accept_counts: bool) -> Folders:
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


def _lock_folder(out: Path, cell: Cell) -> Path:
    folder = out / "runs" / cell.key
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def _run_cell(cell: Cell, folders: Folders, out: Path, options: Options, told: Told, shifts: Sequence[str]) -> None:
    photos, began = folders[cell.dataset, cell.category], time.monotonic()
    workshop = Workshop(out, cell.dataset, cell.category, photos, options, told.epoch, told.note)
    trained = workshop.trained(cell.recipe)
    trained_at = time.monotonic()
    metrics = measure_run(trained.run, photos, shifts=shifts, device=options.device, progress=told.progress)
    counts, _ = check_counts({(cell.dataset, cell.category): photos})
    append_row(
        out / ROWS_FILE,
        {
            "key": cell.key,
            "dataset": cell.dataset,
            "category": cell.category,
            "recipe": cell.recipe.model_dump(),
            "seed": cell.recipe.seed,
            "quick": options.quick,
            "device": str(choose_device(options.device)),
            "photos": counts[cell.dataset][cell.category]._asdict(),
            "choice": trained.choice,
            **metrics,
            "train_seconds": round(trained_at - began, 1),
            "measure_seconds": round(time.monotonic() - trained_at, 1),
            "textures": options.textures is not None,
            "versions": {"edge-ad": __version__, **package_versions()},
            "recorded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        },
    )
