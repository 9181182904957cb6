"""The table of docs/how-to/retrain.md, made from recorded rows; a test holds the page to it.

The rows are those of `benchmarks.line_story`. Afterwards, write the table by ``python -m
benchmarks.line_story_markdown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main", "table"]

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "retrain.md"
_ROWS = RESULTS / "line_story.jsonl"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each part of the shift and each bundle that judged it."""
    lines = ["| parts | judged by | good parts called NG | defects missed |", "|---|---|--:|--:|"]
    for row in rows:
        alarms, missed = (
            f"{row[name]} of {row[of]}" for name, of in (("false_alarms", "good"), ("missed", "defective"))
        )
        lines.append(f"| {row['phase']} | {row['bundle']} | {alarms} | {missed} |")
    return "\n".join(lines)


def made() -> dict[str, str]:
    """Name of the table → its text."""
    return {"line-story": f"{table(read_lines(_ROWS))}\n\n*From `benchmarks/results/{_ROWS.name}`.*\n"}


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
