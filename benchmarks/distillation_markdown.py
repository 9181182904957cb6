"""The tables of docs/results/distillation.md, made from recorded rows; a test holds the page to them.

The rows are `benchmarks.distillation_table`'s and `benchmarks.distillation_latency`'s; the page has the commands.
Afterwards, write the tables by ``python -m benchmarks.distillation_markdown``.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.distillation_table import table
from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main"]

PAGE = Path(__file__).parents[1] / "docs" / "results" / "distillation.md"
_ACCURACY, _LATENCY = RESULTS / "distillation_table.jsonl", RESULTS / "distillation_latency.jsonl"


def made() -> dict[str, str]:
    """Names of the tables → their texts."""
    lines = ["| method | CPU ms | over `patch-gaussian` |", "|---|---|---|"]
    lines += [f"| `{row['method']}` | {row['cpu_ms']:.1f} | {row['ratio']:.2f} |" for row in read_lines(_LATENCY)]
    return {
        "distillation": f"{table(read_lines(_ACCURACY))}\n\n{_where(_ACCURACY)}\n",
        "distillation-latency": "\n".join(lines) + f"\n\n{_where(_LATENCY)}\n",
    }


def _where(rows: Path) -> str:
    return f"*From `benchmarks/results/{rows.name}`, made by `python -m benchmarks.{rows.stem}`.*"


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
