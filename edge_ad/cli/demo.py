"""``edge-ad demo``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from edge_ad.demo import DemoResult, LineVerdicts

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes; must be new or empty.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the product and the training.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Render a product, train FADeR on its good parts, build INT8 and FP32 engines, and judge its line.

    Raises:
        QualityGateError: An engine does not give the trained numbers.
        UsageError: The folder is not empty.
    """
    from edge_ad.cli.console import note, print_json
    from edge_ad.cli.progress import EpochProgress
    from edge_ad.demo import run_demo
    from edge_ad.errors import QualityGateError, UsageError

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"The folder {out} is not empty.", "Remove it, or name another one: --out DIR.")
    with EpochProgress() as progress:
        result = run_demo(out, log=note, on_epoch=progress, seed=seed)
    if as_json:
        print_json({**asdict(result), "passed": result.verification.passed})
    else:
        _print(result)
    if not result.verification.passed:
        raise QualityGateError("An engine does not give the trained numbers.", f"See: edge-ad verify {out}/runs/sample")


def _print(result: DemoResult) -> None:
    from edge_ad.cli.console import print_facts, print_line, print_table

    rows = [(r.engine, r.image_auroc, r.pixel_auroc, r.fps, r.p50_ms, r.p99_ms) for r in result.engines]
    print_table(("engine", "I-AUROC", "P-AUROC", "FPS", "p50 ms", "p99 ms"), rows)
    _print_line_verdicts(result.line)
    reference, other = result.engines
    print_line()
    print_facts(
        {
            "INT8 vs FP32": f"{reference.p50_ms / other.p50_ms:.2f} × faster at the median, "
            f"I-AUROC {other.image_auroc - reference.image_auroc:+.4f}, "
            f"P-AUROC {other.pixel_auroc - reference.pixel_auroc:+.4f}",
            "stream": f"{result.stream['frames']} frames at {result.stream['fps']:.1f} FPS",
            "verify": "passed" if result.verification.passed else "FAILED",
            **result.paths,
        }
    )


def _print_line_verdicts(line: list[LineVerdicts]) -> None:
    from edge_ad.cli.console import print_facts, print_line, print_table

    columns = ("engine", "good frames", "good parts", "defective frames", "defective parts")
    rows = [(r.engine, *map(str, (r.good_frames, r.good_parts, r.defective_frames, r.defective_parts))) for r in line]
    print_table(columns, rows, title="\nThe line against the truth: frames called NG")
    print_line()
    print_facts({f"threshold {verdicts.engine}": verdicts.threshold_rule for verdicts in line})
