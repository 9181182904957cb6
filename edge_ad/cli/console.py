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

    Lines are as long as their content: a pipe or a log has no width to fold them to.

    Args:
        columns: Headings.
        rows: One sequence of cells per row, as long as ``columns``.
        title: A line above the table; none when empty.
    """
    if title:
        print(title)
    by_column = list(zip(columns, *rows, strict=True))
    numeric = [all(_is_number(cell) or cell is None for cell in cells[1:]) for cells in by_column]
    texts = [[_cell(cell) for cell in cells] for cells in by_column]
    widths = [max(map(len, cells)) for cells in texts]
    for line in zip(*texts, strict=True):
        cells = zip(line, widths, numeric, strict=True)
        print("  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in cells).rstrip())


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
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < math.inf else f"{value:.4g}"
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
