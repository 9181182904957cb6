"""The tables of docs/results/dsr.md, made from recorded rows; a test holds the page to them.

The rows are those of the commands on the page. Afterwards, write the tables by ``python -m benchmarks.dsr_markdown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main", "table"]

PAGE = Path(__file__).parents[1] / "docs" / "results" / "dsr.md"
_TRAINED, _OTHERS, _INT8, _LATENCY = (
    RESULTS / f"{name}.jsonl" for name in ("dsr", "default_method", "dsr_int8", "dsr_latency")
)
_METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")


def table(trained: Sequence[Mapping[str, Any]], int8: Sequence[Mapping[str, Any]]) -> str:
    """A row for each product and method: figures in FP32 and in INT8 where recorded, and CPU seconds of the training.

    Args:
        trained: Of `benchmarks.suites.accuracy_suite`; one row for each product and method.
        int8: Of `benchmarks.discriminator_int8`.
    """
    quantised = {(row["product"], row["method"]): row for row in int8}
    lines = ["| product | method | FP32 | INT8 | CPU s of training |", "|---|---|---|---|--:|"]
    for row in sorted(trained, key=lambda row: (row["product"], not row["method"].startswith("dsr"))):
        method = row["method"].partition(":")[0]
        other = quantised.get((row["product"], method), {"refused": "not measured"})
        int8_text = _shown(other["int8"]) if "int8" in other else other["refused"]
        lines.append(f"| `{row['product']}` | `{method}` | {_shown(row)} | {int8_text} | {row['cpu_seconds']:.0f} |")
    return "\n".join(lines)


def _shown(metrics: Mapping[str, float]) -> str:
    return " / ".join(f"{metrics[name]:.3f}" for name in _METRICS)


def made() -> dict[str, str]:
    """Names of the tables → their texts."""
    trained = read_lines(_TRAINED)
    products = {row["product"] for row in trained}
    trained += [
        row
        for row in read_lines(_OTHERS)
        if row["method"] == "patch-gaussian" and row["product"] in products and row["seed"] == 0
    ]
    latency = ["| product | input | method | precision | CPU ms | ratio |", "|---|---|---|---|--:|--:|"]
    latency += [
        f"| `{row['product']}` | {row['size_hw'][0]} × {row['size_hw'][1]} | `{row['method']}` | {row['precision']} "
        f"| {row['cpu_ms']:.1f} | {row['ratio']:.2f} |"
        for row in read_lines(_LATENCY)
    ]
    sources = ", ".join(f"`{path.name}`" for path in (_TRAINED, _OTHERS, _INT8))
    return {
        "dsr": f"{table(trained, read_lines(_INT8))}\n\n*From {sources} of `benchmarks/results`.*\n",
        "dsr-latency": "\n".join(latency) + f"\n\n*From `benchmarks/results/{_LATENCY.name}`.*\n",
    }


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
