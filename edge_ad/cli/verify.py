"""``edge-ad verify``: engines against the trained numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note, print_json, print_table
from edge_ad.cli.options import BackendOption, JsonOption, ThreadsOption
from edge_ad.errors import QualityGateError

if TYPE_CHECKING:
    from edge_ad.export.polygraphy_comparison import Comparison

__all__ = ["verify"]


def verify(
    target: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Folder of a run or of a bundle.")],
    backend: BackendOption = "auto",
    threads: ThreadsOption = 0,
    polygraphy: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also compare graphs and plans with Polygraphy; DIR keeps what repeats it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that an engine gives the trained numbers.

    With a run, torch itself scores held-out images; a bundle alone is compared with the outputs recorded at export.
    FP32 engines must stay within a tolerance, INT8 engines within the limits of their accuracy gate.

    Raises:
        QualityGateError: An engine is out of tolerance.
    """
    from edge_ad.export.verify import verify_target

    result = verify_target(target, backend=backend, threads=threads, log=note)
    comparisons = None if polygraphy is None else _compare(target, polygraphy)
    if as_json:
        document = {"passed": result.passed, "reference": result.reference, "checks": result.checks}
        print_json(document if comparisons is None else {**document, "polygraphy": comparisons})
    else:
        columns = [
            "engine",
            "score",
            "map",
            "map 99.9 %",
            "images off",
            "tolerance",
            "correlation",
            "score shift",
            "passed",
        ]
        rows = [
            [
                check.engine,
                check.deviation.score,
                check.deviation.map,
                check.deviation.map_typical,
                f"{check.deviation.outliers} of {check.deviation.images}",
                check.deviation.tolerance if check.engine.endswith("fp32") else None,
                check.map_correlation,
                check.score_shift,
                check.passed,
            ]
            for check in result.checks
        ]
        print_table(columns, rows, title="Largest differences from the trained network")
        if comparisons is not None:
            rows = [[item.subject, item.outcome] for item in comparisons]
            print_table(["graph or plan", "outcome"], rows, title=f"\nPolygraphy ({polygraphy}/replay.sh repeats it)")
    failed = [check for check in result.checks if not check.passed]
    if failed:
        engines = ", ".join(check.engine for check in failed)
        problems = "; ".join(dict.fromkeys(check.problem for check in failed))
        raise QualityGateError(
            f"{engines} {'does' if len(failed) == 1 else 'do'} not give the trained numbers: {problems}.",
            "Build the engines again: edge-ad build-engine; if that does not help, use another backend.",
        )


def _compare(target: Path, folder: Path) -> list[Comparison]:
    from edge_ad.bundle import Bundle
    from edge_ad.export.build import open_target
    from edge_ad.export.polygraphy_comparison import compare_with_polygraphy

    return compare_with_polygraphy(Bundle.open(open_target(target).bundle_root), folder, note)
