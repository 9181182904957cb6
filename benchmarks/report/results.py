"""Reading recorded results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.report.rows import AccuracyRow, LatencyRow, PeersRow, ScalingRow
from edge_ad.errors import DataError

__all__ = ["Results", "read_results"]

_TRAINING_FIELDS = {"product", "size", "seed", "method", "image_auroc"}
_HINT = "Name files that the benchmarks wrote, such as benchmarks/results/engines.jsonl."


@dataclass(frozen=True)
class Results:
    """Rows by kind, in the order in which they were recorded."""

    latency: list[LatencyRow] = field(default_factory=list)
    scaling: list[ScalingRow] = field(default_factory=list)
    peers: list[PeersRow] = field(default_factory=list)
    accuracy: list[AccuracyRow] = field(default_factory=list)

    @property
    def measurements(self) -> list[LatencyRow | PeersRow | ScalingRow]:
        """Rows that depend on the machine."""
        return [*self.latency, *self.peers, *self.scaling]

    def __bool__(self) -> bool:
        return any((self.latency, self.scaling, self.peers, self.accuracy))


def read_results(paths: Sequence[Path]) -> Results:
    """Read JSON lines; of rows that measure the same thing the last one counts.

    Args:
        paths: Files, or folders whose ``*.jsonl`` files are read.

    Raises:
        DataError: A file that is not there, a line that is not a row, or no row at all.
    """
    results = Results()
    for path in _files(paths):
        for number, document in _lines(path):
            _add(results, document, path, number)
    if not results:
        raise DataError(f"There is no result in {', '.join(map(str, paths)) or 'no file'}.", _HINT)
    return Results(list(_last(results.latency)), results.scaling, results.peers, results.accuracy)


def _files(paths: Sequence[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.jsonl"))
        elif path.is_file():
            yield path
        else:
            raise DataError(f"{path} does not exist.", _HINT)


def _lines(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", _HINT) from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error}).", _HINT) from error
        if not isinstance(document, dict):
            raise DataError(f"{path}, line {number}: not a row.", _HINT)
        yield number, document


def _add(results: Results, document: dict[str, Any], path: Path, number: int) -> None:
    try:
        match document.get("kind"):
            case "latency":
                results.latency.append(LatencyRow.model_validate(document))
            case "scaling":
                results.scaling.append(ScalingRow.model_validate(document))
            case "peers":
                results.peers.append(PeersRow.model_validate(document))
            case "accuracy":
                results.accuracy.append(AccuracyRow.model_validate(document))
            case None if document.keys() >= _TRAINING_FIELDS:
                results.accuracy.append(AccuracyRow.model_validate(document))
            case _:  # tables of other suites stand in the same folder
                return
    except ValidationError as error:
        what = error.errors()[0]
        place = ".".join(map(str, what["loc"]))
        raise DataError(f"{path}, line {number}: {place}: {what['msg']}.", _HINT) from error


def _last(rows: Sequence[LatencyRow]) -> Iterable[LatencyRow]:
    newest = {row.key: row for row in rows}
    return newest.values()
