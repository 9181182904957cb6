"""A cell: one piece of work that depends on no other, and what it may use of a machine."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import Field, JsonValue

from edge_ad.document import Document
from edge_ad.errors import EdgeAdError
from edge_ad.strict_json import to_json

__all__ = ["Cell", "Limits", "Task", "Told", "make_cell", "task_of"]

_KEY_DIGITS = 16


@dataclass(frozen=True)
class Told:
    """Who is told what while a cell runs.

    Attributes:
        note: Words on what is done.
        epoch: Called with the `EpochReport` of each epoch of a training.
        progress: Test photos done, and in all.
    """

    note: Callable[[str], None]
    epoch: Callable[[Any], None]
    progress: Callable[[int, int], None]


Task: TypeAlias = Callable[[Mapping[str, Any], Path, Told], Mapping[str, Any]]
"""Arguments of a cell, its folder and who is told → its result, as JSON has it."""


class Limits(Document):
    """What one cell may use.

    Attributes:
        cores: Of the processor: threads of torch, OpenCV and of what numpy calls.
        memory_bytes: Of its process, in RAM; None for no limit.
        gpus: How many.
        minutes: After which it is ended; it goes on from its last checkpoint when it is started again.
    """

    cores: int = Field(default=1, ge=1)
    memory_bytes: int | None = Field(default=None, ge=1 << 28)
    gpus: int = Field(default=0, ge=0)
    minutes: int = Field(default=24 * 60, ge=1)


class Cell(Document):
    """One piece of work.

    Attributes:
        key: 16 hexadecimal digits, the same for the same work.
        task: What is called, as ``package.module:function``; a `Task`.
        arguments: What it is called with.
        labels: What its row says of it, such as product, method and seed.
        group: Cells that take about as long, and share a line of the table: a method's.
    """

    key: str
    task: str
    arguments: dict[str, JsonValue]
    labels: dict[str, JsonValue]
    group: str

    @property
    def words(self) -> str:
        """The cell in one line."""
        texts = []
        for name, value in self.labels.items():
            if isinstance(value, dict):
                texts += [f"{each}={given}" for each, given in value.items()]
            elif value not in ("", None):
                texts.append(f"{value}" if isinstance(value, str) else f"{name} {value}")
        return " ".join(texts)


def make_cell(
    task: str,
    arguments: Mapping[str, Any],
    labels: Mapping[str, Any],
    *,
    group: str,
    identity: Mapping[str, Any] | None = None,
) -> Cell:
    """A cell whose key is the hash of what its result depends on.

    Args:
        task: ``package.module:function``.
        arguments: What it is called with.
        labels: What its row says of it.
        group: Cells that take about as long.
        identity: What the result depends on; the arguments where it is None.
    """
    content = to_json({"task": task, "identity": _sorted(arguments if identity is None else identity)})
    key = hashlib.sha256(content.encode()).hexdigest()[:_KEY_DIGITS]
    return Cell(key=key, task=task, arguments=dict(arguments), labels=dict(labels), group=group)


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def task_of(cell: Cell) -> Task:
    """The function that a cell names.

    Raises:
        EdgeAdError: There is none; the cell is of another version.
    """
    module, _, name = cell.task.partition(":")
    try:
        task: Task = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise EdgeAdError(f"There is no task {cell.task} ({error}).", "Delete the cell's folder.") from error
    return task
