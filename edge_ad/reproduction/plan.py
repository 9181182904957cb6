"""Which cells a table needs, where their photos are, and which of them have been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.errors import DataError, UsageError
from edge_ad.registry import did_you_mean
from edge_ad.reproduction.datasets import DATASETS, Counts, category_folder, count_photos, count_problem
from edge_ad.reproduction.recipes import Options, key_of
from edge_ad.reproduction.tables import Recipe, Table

__all__ = ["Cell", "Chosen", "check_counts", "folders_of", "is_measured", "planned"]

Folders = Mapping[tuple[str, str], Path]
"""Data set and category → folder."""


@dataclass(frozen=True)
class Chosen:
    """What of a table is asked for.

    Attributes:
        roots: Data set → its folder; the key is empty for a folder that was not named.
        categories: Categories; all where there are none.
        columns: Labels of columns; all that can be run where there are none.
    """

    roots: Mapping[str, Path]
    categories: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """What one training gives to a table.

    Attributes:
        key: Name of the run.
        dataset: Key of the data set.
        category: The category.
        recipe: How to train.
        label: Of the first column that it is of.
    """

    key: str
    dataset: str
    category: str
    recipe: Recipe
    label: str


def folders_of(table: Table, chosen: Chosen) -> dict[tuple[str, str], Path]:
    """The folders of the categories that are asked for.

    A table of several data sets is made of those that are there: one folder for each, or a folder that holds them.

    Raises:
        DataError: A category is not there, or no data set of the table is.
        UsageError: A category that the table does not have.
    """
    known = [category for part in table.parts for category in DATASETS[part.dataset].categories]
    if unknown := sorted(set(chosen.categories) - set(known)):
        hint = f"{did_you_mean(unknown[0], known)}It has: {', '.join(known)}."
        raise UsageError(f"Table {table.id} has no category {unknown[0]!r}.", hint)
    found: dict[tuple[str, str], Path] = {}
    for part in table.parts:
        if (root := _root_of(part.dataset, chosen.roots, is_only=len(table.parts) == 1)) is not None:
            for category in DATASETS[part.dataset].categories:
                if not chosen.categories or category in chosen.categories:
                    found[part.dataset, category] = category_folder(root, category)
    if not found:
        names = ", ".join(part.dataset for part in table.parts)
        raise DataError(
            f"Table {table.id} is of {names}: none was named.", "--data DIR, or --data mvtec=DIR --data mpdd=DIR"
        )
    return found


def _root_of(dataset: str, roots: Mapping[str, Path], *, is_only: bool) -> Path | None:
    if dataset in roots:
        return roots[dataset]
    if "" not in roots:
        return None
    inner = roots[""] / dataset
    return inner if inner.is_dir() else roots[""] if is_only else None


def check_counts(folders: Folders) -> tuple[dict[str, dict[str, Counts]], list[str]]:
    """Count the photos of the folders.

    Returns:
        Data set → category → photos; and what is not as published, a sentence for each data set.

    Raises:
        DataError: A folder's layout is not known.
    """
    counts: dict[str, dict[str, Counts]] = {}
    for (dataset, category), folder in folders.items():
        counts.setdefault(dataset, {})[category] = count_photos(folder)
    problems = [count_problem(DATASETS[dataset], found) for dataset, found in counts.items()]
    return counts, [problem for problem in problems if problem]


def planned(table: Table, folders: Folders, chosen: Chosen, options: Options) -> list[Cell]:
    """The cells of a table, category by category; columns that are trained alike share one.

    Raises:
        UsageError: A column that the table does not have, or that this package cannot run.
    """
    own = table.own
    if unknown := [label for label in chosen.columns if label not in own]:
        hint = f"{did_you_mean(unknown[0], own)}It can run: {', '.join(own) or 'none'}."
        raise UsageError(f"Table {table.id} has no column {unknown[0]!r} that can be run.", hint)
    if not own:
        raise UsageError(
            f"No column of table {table.id} can be run: its methods are not here.", "edge-ad reproduce --list"
        )
    cells: dict[str, Cell] = {}
    for dataset, category in folders:
        for label, recipe in own.items():
            if not chosen.columns or label in chosen.columns:
                key = key_of(recipe, dataset, category, options)
                cells.setdefault(key, Cell(key, dataset, category, recipe, label))
    return list(cells.values())


def is_measured(cell: Cell, rows: Sequence[Mapping[str, Any]], shifts: Sequence[str]) -> bool:
    """Whether there is a row of a cell, on shifted photos too where the table asks for these."""
    wanted = {f"image_auroc@{kind}" for kind in shifts}
    return any(row["key"] == cell.key and wanted <= row["exact"].keys() for row in rows)
