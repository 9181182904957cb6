"""The published tables: data files of this package, each with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, model_validator

from edge_ad.document import Document
from edge_ad.errors import UsageError
from edge_ad.registry import did_you_mean

__all__ = ["Column", "Part", "Recipe", "Table", "read_tables", "table_of"]

Figures = tuple[tuple[float | None, ...], ...]
"""Of each column, of each metric; None where the paper gives none."""


class Recipe(Document):
    """What it takes to train for a column, beside the method's published preset.

    Attributes:
        method: Name of the method.
        values: Parameters that differ from the preset's.
        settings: Settings of the training that differ from the preset's.
        seed: Seed of everything.
        share: Share of the training photos.
    """

    method: str
    values: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    share: float = Field(default=1.0, gt=0, le=1)


class Column(Document):
    """A column of a table.

    Attributes:
        label: As the paper has it.
        recipe: How to train for it; None where this package has no such method.
    """

    label: str
    recipe: Recipe | None = None


class Part(Document):
    """The figures of one data set.

    Attributes:
        dataset: Key of the data set.
        rows: Category → figures; empty where the paper gives the mean alone.
        mean: Figures of the mean over categories.
    """

    dataset: str
    rows: dict[str, Figures] = Field(default_factory=dict)
    mean: Figures


class Table(Document):
    """A published table.

    Attributes:
        id: Such as ``001/1``.
        title: What it is of.
        source: Paper and number of the table.
        unit: Of the figures as they are printed: ``percent``, or ``share`` of one.
        metrics: Names of the metrics of a cell; with ``@KIND`` on photos that are shifted so.
        columns: Its columns.
        parts: Its figures, data set by data set.
        notes: What is not plain from the paper.
    """

    id: str
    title: str
    source: str
    unit: Literal["percent", "share"]
    metrics: tuple[str, ...]
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_rectangular(self) -> Table:
        for part in self.parts:
            for figures in (*part.rows.values(), part.mean):
                if len(figures) != len(self.columns) or {len(cell) for cell in figures} != {len(self.metrics)}:
                    raise ValueError(f"{self.id}: each row has a cell for each column, and a figure for each metric")
        return self

    @property
    def shift_kinds(self) -> tuple[str, ...]:
        """Kinds of shift that its metrics ask for."""
        return tuple(dict.fromkeys(name.partition("@")[2] for name in self.metrics if "@" in name))

    @property
    def own(self) -> dict[str, Recipe]:
        """Label → recipe, of the columns that can be run here."""
        return {column.label: column.recipe for column in self.columns if column.recipe is not None}


@cache
def read_tables() -> Mapping[str, Table]:
    """Id → table, in the order of the ids."""
    folder = files("edge_ad.reproduction") / "tables"
    found = [
        Table.model_validate(json.loads(path.read_bytes())) for path in folder.iterdir() if path.name[-5:] == ".json"
    ]
    return {table.id: table for table in sorted(found, key=lambda table: table.id)}


def table_of(name: str) -> Table:
    """The table of an id.

    Raises:
        UsageError: There is none.
    """
    tables = read_tables()
    if name not in tables:
        hint = f"{did_you_mean(name, tables)}See: edge-ad reproduce --list"
        raise UsageError(f"There is no table {name!r}.", hint)
    return tables[name]
