"""What the verbs print: data on stdout as text or JSON, everything else on stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone

from edge_ad.outside_text import printable
from edge_ad.strict_json import to_json

__all__ = [
    "local_time",
    "note",
    "print_document",
    "print_facts",
    "print_json",
    "print_line",
    "print_table",
    "rewrite_line",
    "show_count",
    "user_name",
]


def local_time(at_unix: float, timespec: str = "seconds") -> str:
    """Local time with its zone: ``2026-11-22 08:00:00+01:00``.

    Args:
        at_unix: Seconds since the epoch.
        timespec: Its smallest unit, as `datetime.isoformat` takes it.
    """
    return datetime.fromtimestamp(at_unix, timezone.utc).astimezone().isoformat(" ", timespec)


def note(text: str) -> None:
    """Print one line about the work on stderr; nothing once the terminal has closed."""
    with suppress(OSError):  # the terminal has closed; the work continues
        print(printable(text), file=sys.stderr, flush=True)


def rewrite_line(text: str) -> None:
    """Overwrite the current line of the terminal at stderr, and stay on it."""
    with suppress(OSError):
        print(f"\r{printable(text)}\x1b[K", end="", file=sys.stderr, flush=True)


def print_line(text: str = "") -> None:
    """Print one line on stdout; control characters are escaped."""
    print(printable(text))


def user_name() -> str:
    """Who is at this terminal, for an audit entry; ``"unknown"`` where the system does not say."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name in a container
        return "unknown"


def show_count(done: int, total: int) -> None:
    """Count up in place on stderr; silent when stderr is not a terminal."""
    if sys.stderr.isatty():
        with suppress(OSError):
            print(f"\r{done}/{total}", end="\n" if done >= total else "", file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """Print a value as indented JSON on stdout: full precision, keys in the order given, ASCII only.

    Dataclasses, pydantic models, paths, sets and NumPy scalars and arrays are taken; a number that JSON does not
    have (NaN, infinity) becomes null.
    """
    print(to_json(value, indent=2))


def print_document(text: str) -> None:
    """Print a document in a format for programs on stdout as it is, such as CSV."""
    sys.stdout.write(text)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values as two aligned columns on stdout."""
    texts = {printable(name): value for name, value in facts.items()}
    width = max((len(name) for name in texts), default=0)
    for name, value in texts.items():
        print(f"{name:<{width}}  {_cell(value)}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table on stdout; numbers are right-aligned and rounded to four significant digits.

    Lines are not folded: a pipe or a log has no width.

    Args:
        columns: Headings.
        rows: One sequence of cells per row, as long as ``columns``.
        title: A line above the table, none when empty; leading line ends become empty lines.
    """
    if title:
        text = title.lstrip("\n")
        print("\n" * (len(title) - len(text)) + printable(text))
    by_column = list(zip(columns, *rows, strict=True))
    numeric = [all(_is_number(cell) or cell is None for cell in cells[1:]) for cells in by_column]
    texts = [[_cell(cell) for cell in cells] for cells in by_column]
    widths = [max(map(len, cells)) for cells in texts]
    for line in zip(*texts, strict=True):
        cells = zip(line, widths, numeric, strict=True)
        print("  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in cells).rstrip())


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < math.inf else f"{value:.4g}"
    return printable(str(value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
