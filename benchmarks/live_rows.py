"""Where the stream benchmarks record what they measured: one JSON row each, `--out results/streams.jsonl`."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_ad.evaluation.latency import describe_machine

__all__ = ["add_out_option", "add_row"]

_PATH = "bundle"  # where it lies on the machine that measured


def add_out_option(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark its ``--out``."""
    parser.add_argument("--out", type=Path, help="add what was measured to this file, as a line of JSON")


def add_row(out: Path | None, benchmark: str, report: dict[str, Any]) -> None:
    """Add a measurement to a file of JSON lines.

    Args:
        out: The file; None records nothing.
        benchmark: What was measured.
        report: What came out.
    """
    if out is None:
        return
    recorded = datetime.now(timezone.utc).isoformat(timespec="seconds")
    measured = {name: value for name, value in report.items() if name != _PATH}
    row = {"benchmark": benchmark, "recorded": recorded, "machine": describe_machine(), **measured}
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
