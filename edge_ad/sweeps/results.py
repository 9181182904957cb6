"""The files of a sweep for who reads them: results, what they took, and failures, as JSON lines in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_ad.storage import write_file
from edge_ad.strict_json import to_json
from edge_ad.sweeps.cells import Cell
from edge_ad.sweeps.controller import Answer

__all__ = ["COSTS_FILE", "FAILURES_FILE", "RESULTS_FILE", "row_of", "write_results"]

RESULTS_FILE, COSTS_FILE, FAILURES_FILE = "results.jsonl", "costs.jsonl", "failures.jsonl"


def row_of(answer: Answer) -> dict[str, Any]:
    """The row of a cell with a result: its key, labels and figures, the same wherever and whenever it ran."""
    assert answer.finished is not None
    return {"key": answer.cell.key, **answer.cell.labels, **answer.finished.result}


def write_results(out: Path, cells: Sequence[Cell], answers: Mapping[str, Answer]) -> None:
    """Write all three files anew, each of them whole; a file with no line is not there.

    Args:
        out: Folder of the sweep.
        cells: In the plan's order.
        answers: Key → answer, of those that are there.

    Raises:
        StorageError: One cannot be written.
    """
    known = [answers[cell.key] for cell in cells if cell.key in answers]
    finished = [answer for answer in known if answer.finished is not None]
    _write(out / RESULTS_FILE, (row_of(answer) for answer in finished))
    _write(out / COSTS_FILE, (_cost(answer) for answer in finished))
    _write(out / FAILURES_FILE, (_failure(answer) for answer in known if answer.failure is not None))


def _cost(answer: Answer) -> dict[str, Any]:
    assert answer.finished is not None
    return {"key": answer.cell.key, **answer.cell.labels, **answer.finished.cost.model_dump()}


def _failure(answer: Answer) -> dict[str, Any]:
    assert answer.failure is not None
    return {"key": answer.cell.key, **answer.cell.labels, **answer.failure.model_dump()}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = [to_json(row) + "\n" for row in rows]
    if lines:
        write_file(path, "".join(lines).encode())
    else:
        path.unlink(missing_ok=True)
