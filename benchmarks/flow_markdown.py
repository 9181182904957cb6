"""The tables of docs/results/flows.md, made from recorded rows; a test holds the page to them.

The rows are `benchmarks.flow_table`'s and `benchmarks.distillation_latency`'s; the page has the commands. Afterwards,
write the tables by ``python -m benchmarks.flow_markdown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main", "table"]

PAGE = Path(__file__).parents[1] / "docs" / "results" / "flows.md"
_ACCURACY, _LATENCY = RESULTS / "flow_table.jsonl", RESULTS / "flow_latency.jsonl"
_METRICS = ("image_auroc", "pixel_auroc", "pro")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each run: image AUROC / pixel AUROC / PRO of both engines, and layers in INT8."""
    lines = ["| product | method | seed | FP32 | INT8 | INT8 layers |", "|---|---|--:|---|---|--:|"]
    for row in sorted(rows, key=_place):
        int8 = _shown(row["int8"]) if "int8" in row else "refused by the gate" if "refused" in row else "–"
        layers = f"{row['int8_layers']} of {row['int8_layers'] + row['returned']}" if "int8" in row else "–"
        run = f"`{row['product']}` | `{row['method']}` | {row['seed']}"
        lines.append(f"| {run} | {_shown(row['fp32'])} | {int8} | {layers} |")
    return "\n".join(lines)


def _place(row: Mapping[str, Any]) -> tuple[str, bool, str, int]:
    return row["product"], row["method"] != "patch-gaussian", row["method"], row["seed"]


def _shown(metrics: Mapping[str, float]) -> str:
    return " / ".join(f"{metrics[name]:.3f}" for name in _METRICS)


def made() -> dict[str, str]:
    """Names of the tables → their texts."""
    lines = ["| method | CPU ms | over `patch-gaussian` |", "|---|---|---|"]
    lines += [f"| `{row['method']}` | {row['cpu_ms']:.1f} | {row['ratio']:.2f} |" for row in read_lines(_LATENCY)]
    return {
        "flows": f"{table(read_lines(_ACCURACY))}\n\n{_where(_ACCURACY, 'flow_table')}\n",
        "flows-latency": "\n".join(lines) + f"\n\n{_where(_LATENCY, 'distillation_latency')}\n",
    }


def _where(rows: Path, command: str) -> str:
    return f"*From `benchmarks/results/{rows.name}`, made by `python -m benchmarks.{command}`.*"


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
