"""The tables of docs/results/default_method.md, made from recorded rows; a test holds the page to them.

The rows are `benchmarks.suites.accuracy_suite`'s and `benchmarks.distillation_latency`'s; the page has the commands.
Afterwards, write the tables by ``python -m benchmarks.default_method_markdown``.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suites.record import read_lines
from benchmarks.write_tables import RESULTS, rewrite

__all__ = ["PAGE", "made", "main", "table"]

PAGE = Path(__file__).parents[1] / "docs" / "results" / "default_method.md"
_ACCURACY, _LATENCY = RESULTS / "default_method.jsonl", RESULTS / "default_method_latency.jsonl"
_METRICS = ("image_auroc", "pixel_auroc", "pro")


def table(rows: Sequence[Mapping[str, Any]], latency: Sequence[Mapping[str, Any]]) -> str:
    """A row for each method: image AUROC / pixel AUROC / PRO of each product and in the mean, and the relative time.

    Args:
        rows: Accuracy; means over seeds are shown.
        latency: CPU time over that of the first method.
    """
    products = sorted({row["product"] for row in rows})
    ratios = {row["method"]: f"{row['ratio']:.2f}" for row in latency}
    found: defaultdict[str, defaultdict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["method"]][row["product"]].append([row[name] for name in _METRICS])
    lines = ["| method | " + " | ".join(f"`{name}`" for name in products) + " | mean | CPU time |"]
    lines.append("|---" * (len(products) + 3) + "|")
    for method, by_product in found.items():
        means = {name: _mean(seeds) for name, seeds in by_product.items()}
        whole = _shown(_mean(list(means.values()))) if len(means) == len(products) else "–"
        cells = [_shown(means[name]) if name in means else "–" for name in products]
        lines.append("| " + " | ".join([f"`{method}`", *cells, whole, ratios.get(method, "–")]) + " |")
    return "\n".join(lines)


def _mean(values: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(column) for column in zip(*values, strict=True)]


def _shown(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def made() -> dict[str, str]:
    """Names of the tables → their texts."""
    where = f"*From `benchmarks/results/{_ACCURACY.name}` and `{_LATENCY.name}`.*"
    return {"default-method": f"{table(read_lines(_ACCURACY), read_lines(_LATENCY))}\n\n{where}\n"}


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
