"""Recorded benchmarks as a page, and what changed since older ones.

    python -m benchmarks.report RESULTS... [--out DIR] [--compare OLD]

Makes one HTML file that needs nothing beside it, and the same tables as Markdown. With --compare a slower engine is
told from noise by an interval of the ratio of medians, round by round where both were measured in turns. Exit code 4
when one is past the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report.comparison import Comparison, Limits, compare_results
from benchmarks.report.page import render_markdown, render_page
from benchmarks.report.results import read_results
from benchmarks.report.sections import Section, all_sections
from benchmarks.report.tables import change_table, markdown
from edge_ad.bundle import Bundle
from edge_ad.calibration.sensitivity import LayerSensitivity
from edge_ad.errors import DataError, EdgeAdError, QualityGateError
from edge_ad.export.precision_page import sensitivity_chart
from edge_ad.storage import write_file
from edge_ad.strict_json import to_json

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report.

    Args:
        arguments: Command line without the program's name; that of the process when None.

    Returns:
        Exit code: 0 ok, 2 wrong input, 4 an engine is past the limit.
    """
    try:
        _report(_parser().parse_args(arguments))
    except EdgeAdError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="files or folders of recorded results")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for index.html and report.md")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="older results to compare with")
    parser.add_argument(
        "--max-regression",
        type=_share,
        default=0.05,
        help="share by which a median may rise; past it the exit code is 4",
    )
    parser.add_argument(
        "--max-accuracy-drop", type=_share, default=0.005, help="how much image AUROC, pixel AUROC or PRO may fall"
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        action="append",
        default=[],
        help="bundle whose sensitivity of layers is shown; repeatable",
    )
    parser.add_argument(
        "--sheet", type=Path, action="append", default=[], help="sheet.png of edge-ad evaluate --report; repeatable"
    )
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 10.0:  # NaN too
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 10")
    return value


def _report(options: argparse.Namespace) -> None:
    new = read_results(options.results)
    comparison = None
    if options.compare is not None:
        limits = Limits(options.max_regression, options.max_accuracy_drop)
        comparison = compare_results(new.latency, read_results([options.compare]).latency, limits)
    sections = [*all_sections(new, comparison), *_sensitivities(options.bundle)]
    sheets = {f"{path.parent.name}/{path.name}": _png(path) for path in options.sheet}
    page, text = options.out / "index.html", options.out / "report.md"
    write_file(page, render_page(new, sections, sheets).encode())
    write_file(text, render_markdown(new, sections).encode())
    files = {"page": page, "markdown": text}
    if options.json:
        print(to_json({**files, **_changes(comparison)}, indent=2))
    else:
        print("\n".join(f"{name:<8}  {path}" for name, path in files.items()))
        if comparison is not None:
            print(f"\nCompared with before\n{markdown(change_table(comparison))}")
    if comparison is not None:
        _check(comparison)


def _changes(comparison: Comparison | None) -> dict[str, Any]:
    changes = [] if comparison is None else comparison.changes
    return {
        "regressions": None if comparison is None else len(comparison.regressions),
        "changes": [
            {
                "key": list(change.row.key),
                "ratio": change.interval.ratio,
                "interval": [change.interval.low, change.interval.high],
                "how": change.how,
                "verdict": change.verdict,
                "accuracy": change.accuracy,
                "is_regression": change.is_regression,
            }
            for change in changes
        ],
    }


def _sensitivities(bundles: list[Path]) -> list[Section]:
    sections = []
    for root in bundles:
        opened = Bundle.open(root)
        path = root / "precision" / "int8.json"
        document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        items, returned = document.get("sensitivity") or [], document.get("returned_layers") or {}
        title = f"Sensitivity of the layers: {opened.manifest.product}"
        if not items:
            sections.append(
                Section(title, "Not measured: the bundle has none; edge-ad calibrate --sensitivity does it.")
            )
            continue
        chart = sensitivity_chart([LayerSensitivity(**item) for item in items], returned)
        lead = "Each layer alone in INT8: decibels of signal over noise at the anomaly map, drift of the scores in σ."
        sections.append(Section(title, lead, [("", chart)]))
    return sections


def _png(path: Path) -> bytes:
    content = path.read_bytes() if path.is_file() else b""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise DataError(f"{path} is not a PNG file.", "Name a sheet.png that edge-ad evaluate --report wrote.")
    return content


def _check(comparison: Comparison) -> None:
    if not comparison.changes:
        raise DataError(
            "The two results have no engine in common.",
            "Both need the same product, method, backend, precision, size, batch and threads.",
        )
    worst = comparison.regressions
    if worst:
        names = ", ".join(sorted({f"{change.row.product} {change.row.label}" for change in worst}))
        raise QualityGateError(
            f"{len(worst)} of {len(comparison.changes)} engines are past the limit: {names}.",
            "The table says by how much; --max-regression and --max-accuracy-drop set the limits.",
        )


if __name__ == "__main__":
    sys.exit(main())
