"""``edge-ad compare``: detectors side by side on the same test photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_json, print_line, print_table, show_count
from edge_ad.cli.options import EngineChoice, JsonOption, PhotosToTest, takes_groups

if TYPE_CHECKING:
    from edge_ad.evaluation.comparison import Comparison

__all__ = ["compare"]

_MOST_SHOWN = 20


@dataclass(frozen=True)
class Targets:
    """What is compared."""

    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|BUNDLE|JSON...", help="Runs, bundles, files of evaluate --json and benchmark --json"
        ),
    ]


@dataclass(frozen=True)
class Reporting:
    """How long is measured, and what is written."""

    report: Annotated[
        Path | None, typer.Option(help="Folder to write a page into, with the photos on which they differ.")
    ] = None
    skip_unreadable: Annotated[
        bool, typer.Option(help="Leave out images that cannot be read, or that one of the detectors cannot judge.")
    ] = False
    seconds: Annotated[float, typer.Option(min=0.1, help="Time to measure the latency of each for.")] = 2.0
    as_json: JsonOption = False


@takes_groups
def compare(targets: Targets, photos: PhotosToTest, reporting: Reporting, engine: EngineChoice) -> None:
    """Compare detectors: accuracy, false alarms and recall at their thresholds, latency, size, and where they differ.

    Latencies of folders are measured one after the other in this process: for a claim, use benchmark. A file of
    ``benchmark --json`` gives its latency to the evaluation that is named before it.
    """
    from edge_ad.training.target_comparison import compare_targets

    comparison = compare_targets(
        targets.targets,
        photos.data,
        photos.folders,
        skip_unreadable=reporting.skip_unreadable,
        seconds=reporting.seconds,
        **vars(engine),
        log=note,
        progress=show_count,
    )
    if reporting.report is not None:
        _write_report(reporting.report, comparison)
    if reporting.as_json:
        print_json(comparison.to_json())
    else:
        _print(comparison)


def _write_report(folder: Path, comparison: Comparison) -> None:
    from edge_ad.evaluation.comparison_page import write_comparison

    paths = write_comparison(folder, comparison)
    note(f"Report: {paths.page or paths.record}")
    if paths.missing:
        note(f"warning: the report has no page: {paths.missing}")


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
