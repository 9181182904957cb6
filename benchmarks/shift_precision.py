"""How far an INT8 bundle moves from its FP32 one under shift: rows of `benchmarks.shift_table` of both, as Markdown.

python -m benchmarks.shift_precision shift.jsonl shift_int8.jsonl
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shift_table import row_words
from benchmarks.suites.record import read_lines

__all__ = ["table"]

_MOST_AUROC = 0.005
_MOST_FALSE_ALARMS = 0.03
_STEP = ("product", "method", "size", "seed", "shift_at", "kind", "step")

Row = Mapping[str, Any]


def table(of_fp32: Sequence[Row], of_int8: Sequence[Row]) -> str:
    """A line for each product and method: at how many steps both agree, and where they differ most.

    Args:
        of_fp32: Rows of `benchmarks.shift_table`; the last one of a step counts.
        of_int8: Likewise.
    """
    fp32 = {tuple(row[name] for name in _STEP): row for row in of_fp32}
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = defaultdict(list)
    for step, row in {tuple(row[name] for name in _STEP): row for row in of_int8}.items():
        if step in fp32:
            pairs[row["product"], row["method"]].append((fp32[step], row))
    heading = "| product | method | steps within both limits | image AUROC, most | false alarms, most |"
    lines = [f"| `{product}` | `{method}` | {_agreement(found)} |" for (product, method), found in pairs.items()]
    return "\n".join([heading, "|---|---|--:|---|---|", *lines])


def _agreement(pairs: Sequence[tuple[Row, Row]]) -> str:
    within = sum(
        abs(_change(pair, "image_auroc")) <= _MOST_AUROC and abs(_change(pair, "false_alarms")) <= _MOST_FALSE_ALARMS
        for pair in pairs
    )
    return f"{within} of {len(pairs)} | {_most(pairs, 'image_auroc')} | {_most(pairs, 'false_alarms')}"


def _most(pairs: Sequence[tuple[Row, Row]], name: str) -> str:
    fp32, int8 = max(pairs, key=lambda pair: abs(_change(pair, name)))
    return f"{_change((fp32, int8), name):+.3f}, from {fp32[name]:.3f} ({row_words(fp32)})"


def _change(pair: tuple[Row, Row], name: str) -> float:
    return float(pair[1][name] - pair[0][name])


def main() -> None:
    """Print the table."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("fp32", type=Path)
    made.add_argument("int8", type=Path)
    chosen = made.parse_args()
    print(table(read_lines(chosen.fp32), read_lines(chosen.int8)))


if __name__ == "__main__":
    main()
