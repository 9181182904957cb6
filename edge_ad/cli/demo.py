"""``edge-ad demo``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from edge_ad.cli.line_verdicts import LineVerdicts
    from edge_ad.cli.tour import Tour

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes; must be new or empty.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the product and the training.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Render a product, train FADeR on its good parts, build INT8 and FP32 engines, and judge its line.

    Raises:
        QualityGateError: An engine does not give the trained numbers.
        UsageError: The folder is not empty.
    """
    from edge_ad.cli.console import note, print_json
    from edge_ad.cli.epochs import EpochProgress
    from edge_ad.cli.tour import run_tour
    from edge_ad.errors import QualityGateError, UsageError

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder.", "Remove it, or give another one with --out.")
    with EpochProgress() as listen:
        tour = run_tour(out, say=note, listen=listen, seed=seed)
    if as_json:
        print_json({**asdict(tour), "passed": tour.verification.passed})
    else:
        _print(tour)
    if not tour.verification.passed:
        raise QualityGateError("An engine does not give the trained numbers.", f"See: edge-ad verify {out}/runs/sample")


def _print(tour: Tour) -> None:
    from edge_ad.cli.console import print_facts, print_line, print_table

    rows = [(r.engine, r.image_auroc, r.pixel_auroc, r.fps, r.p50_ms, r.p99_ms) for r in tour.engines]
    print_table(("engine", "I-AUROC", "P-AUROC", "FPS", "p50 ms", "p99 ms"), rows)
    _print_line_verdicts(tour.line)
    reference, other = tour.engines
    print_line()
    print_facts(
        {
            "INT8 vs FP32": f"{reference.p50_ms / other.p50_ms:.2f} × faster at the median, "
            f"I-AUROC {other.image_auroc - reference.image_auroc:+.4f}, "
            f"P-AUROC {other.pixel_auroc - reference.pixel_auroc:+.4f}",
            "stream": f"{tour.stream['frames']} frames at {tour.stream['fps']:.1f} FPS",
            "verify": "passed" if tour.verification.passed else "FAILED",
            **tour.paths,
        }
    )


def _print_line_verdicts(line: list[LineVerdicts]) -> None:
    from edge_ad.cli.console import print_facts, print_line, print_table

    columns = ("engine", "good frames", "good parts", "defective frames", "defective parts")
    rows = [(r.engine, *map(str, (r.good_frames, r.good_parts, r.defective_frames, r.defective_parts))) for r in line]
    print_table(columns, rows, title="\nThe line against its truth: how many were called NG")
    print_line()
    print_facts({f"threshold {verdicts.engine}": verdicts.threshold_rule for verdicts in line})
