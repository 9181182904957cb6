"""The table of benchmarks/notes/simulated_defects.md, made from recorded rows; a test holds the page to them.

The rows are `benchmarks.suites.accuracy_suite`'s; the page has the command. Afterwards, write the table by
``python -m benchmarks.simulated_defects_markdown``.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.suites.accuracy_suite import table
from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main"]

PAGE = Path(__file__).with_name("notes") / "simulated_defects.md"
_ROWS = RESULTS / "simulated_defects.jsonl"
_WHERE = f"*From `benchmarks/results/{_ROWS.name}`, made by `python -m benchmarks.suites.accuracy_suite`.*"


def made() -> dict[str, str]:
    """Name of the table → its text."""
    rows = sorted(read_lines(_ROWS), key=lambda row: (row["method"], row["product"], row["seed"]))
    return {"simulated-defects": f"{table(rows)}\n\n{_WHERE}\n"}


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
