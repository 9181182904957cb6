"""The tables of docs/results/labelled_defects.md, made from recorded rows; a test holds the page to them.

The rows are those of `benchmarks.labelled_table`. Afterwards, write the tables by ``python -m
benchmarks.labelled_markdown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.labelled_table import COLUMNS
from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main", "table"]

PAGE = Path(__file__).parents[1] / "docs" / "results" / "labelled_defects.md"
_FILES = {"labelled": RESULTS / "labelled_table.jsonl", "labelled-first": RESULTS / "labelled_table_first.jsonl"}
_METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each product and number of labelled defects."""
    names = ("product", "method", "labelled defects", "image AUROC, map", "image AUROC, classifier", "pixel AUROC")
    lines = [f"| {' | '.join((*names, 'pixel AP', 'PRO'))} |", "|---|---|---|--:|--:|--:|--:|--:|"]
    for row in sorted(rows, key=lambda row: (row["product"], list(COLUMNS).index(row["labelled"]))):
        method, _, _ = COLUMNS[row["labelled"]]
        labelled = "" if row["labelled"] == method else row["labelled"]
        first, *others = (f"{row[name]:.3f}" for name in _METRICS)
        classifier = f"{row['classifier_auroc']:.3f}" if "classifier_auroc" in row else ""
        lines.append(f"| `{row['product']}` | `{method}` | {' | '.join([labelled, first, classifier, *others])} |")
    return "\n".join(lines)


def made() -> dict[str, str]:
    """Names of the tables → their texts; of those that have been recorded."""
    return {
        name: f"{table(read_lines(path))}\n\n*From `benchmarks/results/{path.name}`.*\n"
        for name, path in _FILES.items()
        if path.is_file()
    }


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
