"""Records as lines of CSV, the same in every file and download."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge_ad.outside_text import storable
from edge_ad.strict_json import to_json

__all__ = ["csv_lines"]

# What a spreadsheet takes for the start of a formula; the last four are the wide forms of East Asian keyboards.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_lines(records: Iterable[Mapping[str, Any]], columns: Sequence[str], *, has_header: bool) -> str:
    """Records as CSV.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: names of sources and ids of parts
    come from outside. A number stays a number, also a negative one.

    Args:
        records: Dictionaries with the columns as keys; what is missing or None is an empty cell, and data within a
            record is JSON.
        columns: Their order.
        has_header: Whether a line with the names of the columns goes first.
    """
    rows = [[_cell(record.get(name)) for name in columns] for record in records]
    heading: list[list[object]] = [list(columns)] if has_header else []
    return "".join(map(_line, heading + rows))


def _line(cells: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # this end of line has it quote both signs in a cell
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: object) -> object:
    if isinstance(value, (Mapping, list)):
        return to_json(value)
    if not isinstance(value, str):
        return value
    text = storable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
