"""What the verbs print: data on stdout as text or JSON, everything else on stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["note", "print_facts", "print_json", "print_table", "show_count"]

_PIPE_WIDTH = 200


def note(text: str) -> None:
    """Say something about the work, on stderr."""
    print(text, file=sys.stderr, flush=True)


def show_count(done: int, total: int) -> None:
    """Count up in place on stderr; silent when stderr is not a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done >= total else "", file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """Print a value as indented JSON on stdout: full precision, keys in the order given, ASCII only.

    Dataclasses, pydantic models, paths, sets and NumPy scalars and arrays are taken; a number that JSON does not
    have (NaN, infinity) becomes null.
    """
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values as two aligned columns on stdout."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table on stdout; numbers are right-aligned and rounded to four significant digits.

    Args:
        columns: Headings.
        rows: One sequence of cells per row, as long as ``columns``.
        title: A line above the table; none when empty.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=title or None, title_justify="left")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[index]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    # A pipe has no width: a table for a program or a log is never folded to 80 columns.
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False).print(table)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):  # pydantic
        return _plain(value.model_dump(mode="python"))
    if hasattr(value, "tolist"):  # NumPy
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    return str(value) if isinstance(value, Path) else value


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
