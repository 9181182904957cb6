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
_FILES = {"default-method": "default_method", "fader": "fader_width"}
_METRICS = ("image_auroc", "pixel_auroc", "pro")


def table(rows: Sequence[Mapping[str, Any]], latency: Sequence[Mapping[str, Any]]) -> str:
    """A row for each method: image AUROC / pixel AUROC / PRO of each product and in the mean, and the relative time.

    Args:
        rows: Accuracy; means over seeds are shown.
        latency: CPU time over that of the first method.
    """
    products = sorted({row["product"] for row in rows})
    ratios: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in latency:
        ratios[row["method"]][row.get("precision", "fp32").upper()] = f"{row['ratio']:.2f}"
    precisions = list(dict.fromkeys(name for each in ratios.values() for name in each))
    found: defaultdict[str, defaultdict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["method"]][row["product"]].append([row[name] for name in _METRICS])
    lines = ["| method | " + " | ".join(f"`{name}`" for name in products) + " | mean | "]
    lines[0] += " | ".join(f"CPU time, {name}" for name in precisions) + " |"
    lines.append("|---" * (len(products) + 2 + len(precisions)) + "|")
    for method, by_product in found.items():
        means = {name: _mean(seeds) for name, seeds in by_product.items()}
        whole = _shown(_mean(list(means.values()))) if len(means) == len(products) else "–"
        cells = [_shown(means[name]) if name in means else "–" for name in products]
        times = [ratios[method].get(name, "–") for name in precisions]
        lines.append("| " + " | ".join([f"`{method}`", *cells, whole, *times]) + " |")
    return "\n".join(lines)


def _mean(values: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(column) for column in zip(*values, strict=True)]


def _shown(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def made() -> dict[str, str]:
    """Names of the tables → their texts."""
    return {name: _text(file) for name, file in _FILES.items()}


def _text(file: str) -> str:
    accuracy, latency = RESULTS / f"{file}.jsonl", RESULTS / f"{file}_latency.jsonl"
    where = f"*From `benchmarks/results/{accuracy.name}` and `{latency.name}`.*"
    return f"{table(read_lines(accuracy), read_lines(latency))}\n\n{where}\n"


def main() -> None:
    """Write the tables into the page."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")


if __name__ == "__main__":
    main()
