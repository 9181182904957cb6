"""``edge-ad compare``: detectors side by side on the same test photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_json, print_line, print_table, show_count
from edge_ad.cli.options import (
    BackendOption,
    DefectOption,
    GoodOption,
    JsonOption,
    MasksOption,
    PrecisionOption,
    ThreadsOption,
    named_folders,
)

if TYPE_CHECKING:
    from edge_ad.evaluation.comparison import Comparison

__all__ = ["compare"]

_MOST_SHOWN = 20


def compare(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|BUNDLE|JSON...", help="Runs, bundles, files of evaluate --json and benchmark --json"
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the product, with test photos.")] = None,
    good: GoodOption = None,
    defect: DefectOption = None,
    masks: MasksOption = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder to write a page into, with the photos on which they differ.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to measure the latency of each for.")] = 2.0,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare detectors: accuracy, false alarms and recall at their thresholds, latency, size, and where they differ.

    Latencies of folders are measured one after the other in this process: for a claim, use benchmark. A file of
    ``benchmark --json`` gives its latency to the evaluation that is named before it.
    """
    from edge_ad.evaluation.comparison_page import write_comparison
    from edge_ad.training.target_comparison import compare_targets

    comparison = compare_targets(
        targets,
        data,
        named_folders(good, defect, masks),
        seconds=seconds,
        backend=backend,
        precision=precision,
        threads=threads,
        log=note,
        progress=show_count,
    )
    if report is not None:
        paths = write_comparison(report, comparison)
        note(f"Report: {paths.page or paths.record}")
        if paths.missing:
            note(f"warning: the report has no page: {paths.missing}")
    if as_json:
        print_json(comparison.to_json())
    else:
        _print(comparison)


def _print(comparison: Comparison) -> None:
    rows = [
        [
            item.name,
            item.engine,
            item.metrics.get("image_auroc"),
            item.metrics.get("pixel_auroc"),
            item.metrics.get("pro"),
            _rate(item.counted(is_defective=False)),
            _rate(item.counted(is_defective=True)),
            item.latency_ms,
            None if item.size_bytes is None else item.size_bytes / 1e6,
        ]
        for item in comparison.candidates
    ]
    columns = ["detector", "engine", "image_auroc", "pixel_auroc", "pro", "false alarms", "found", "ms", "MB"]
    print_table(columns, rows)
    if any(not item.called for item in comparison.candidates):
        print_line("A run has no threshold: export it to see its false alarms.")
    shown = comparison.disagreements[:_MOST_SHOWN]
    if not shown:
        print_line("They agree on every photo.")
        return
    print_table(
        ["photo", "truth", "called defective by"],
        [[item.path, item.defect_type or "good", ", ".join(item.called_by)] for item in shown],
        title=f"\nPhotos on which they differ ({len(comparison.disagreements)})",
    )
    if left := len(comparison.disagreements) - len(shown):
        print_line(f"and {left} more; --json lists all, --report shows them")


def _rate(counted: tuple[int, int] | None) -> str | None:
    return None if counted is None else f"{counted[0]} of {counted[1]}"
