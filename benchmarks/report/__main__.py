"""``edge-ad report``: recorded benchmarks as a page, and what changed since older ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table
from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from benchmarks.report.comparison import Comparison
    from benchmarks.report.sections import Section

__all__ = ["report"]


def report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="Files or folders of recorded results.")],
    out: Annotated[Path, typer.Option(help="Folder for index.html and report.md.")] = Path("report"),
    compare: Annotated[Path | None, typer.Option(metavar="OLD", help="Older results to compare with.")] = None,
    max_regression: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Share by which a median may rise; past it the exit code is 4.")
    ] = 0.05,
    max_accuracy_drop: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="By how much image AUROC, pixel AUROC or PRO may fall.")
    ] = 0.005,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Bundle whose sensitivity of layers is shown; repeat it for more.")
    ] = None,
    sheet: Annotated[
        list[Path] | None, typer.Option(help="Picture sheet of edge-ad evaluate --report; repeat it for more.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a page of recorded benchmarks.

    One HTML file that needs nothing beside it, and the same tables as Markdown. With --compare a slower engine is told
    from noise by an interval of the ratio of medians, round by round where both were measured in turns.
    """
    from benchmarks.report.comparison import Limits, compare_results
    from benchmarks.report.page import render_markdown, render_page
    from benchmarks.report.results import read_results
    from benchmarks.report.sections import all_sections
    from edge_ad.storage import write_file

    new = read_results(results)
    comparison = None
    if compare is not None:
        limits = Limits(max_regression, max_accuracy_drop)
        comparison = compare_results(new.latency, read_results([compare]).latency, limits)
    sections = [*all_sections(new, comparison), *_sensitivities(bundle or [])]
    sheets = {f"{path.parent.name}/{path.name}": _png(path) for path in sheet or []}
    write_file(out / "index.html", render_page(new, sections, sheets).encode())
    write_file(out / "report.md", render_markdown(new, sections).encode())
    note(f"Report: {out / 'index.html'}")
    _print(out, comparison, as_json=as_json)
    if comparison is not None:
        _check(comparison)


def _sensitivities(bundles: list[Path]) -> list[Section]:
    import json

    from edge_ad.bundle import Bundle
    from benchmarks.report.sections import Section

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
        from edge_ad.calibration.sensitivity import LayerSensitivity
        from edge_ad.export.sensitivity_chart import sensitivity_chart

        drawing = sensitivity_chart([LayerSensitivity(**item) for item in items], returned)
        lead = "Each layer alone in INT8: decibels of signal over noise at the anomaly map, drift of the scores in σ."
        sections.append(
            Section(title, lead, [("", drawing)], legend=[("good", "INT8"), ("defective", "went back to float")])
        )
    return sections


def _png(path: Path) -> bytes:
    from edge_ad.errors import DataError

    content = path.read_bytes() if path.is_file() else b""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise DataError(f"{path} is not a PNG file.", "Name a sheet.png that edge-ad evaluate --report wrote.")
    return content


def _print(out: Path, comparison: Comparison | None, *, as_json: bool) -> None:
    from benchmarks.report.tables import change_table

    files = {"page": out / "index.html", "markdown": out / "report.md"}
    if as_json:
        changes = [] if comparison is None else comparison.changes
        print_json(
            {
                **files,
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
        )
        return
    print_facts(files)
    if comparison is not None:
        table = change_table(comparison)
        print_table(table.header, table.rows, title="\nCompared with before")


def _check(comparison: Comparison) -> None:
    from edge_ad.errors import DataError, QualityGateError

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
