"""``edge-ad calibrate``: the INT8, FP16 or bfloat16 graph of a run's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table, show_count
from edge_ad.cli.options import BackendOption, JsonOption

if TYPE_CHECKING:
    from edge_ad.bundle import Bundle

__all__ = ["calibrate"]

Gated = Literal["int8", "fp16", "bf16", "int8-bf16"]


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    precision: Annotated[Gated, typer.Option(help="Precision to add; bf16 where the processor has it.")] = "int8",
    max_drop: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Largest drop of image and of pixel AUROC against FP32; of PRO 2.5 times."),
    ] = 0.002,
    ranges: Annotated[
        Literal["auto", "percentile", "mse", "entropy", "minmax"],
        typer.Option(
            help="INT8: how to derive ranges from the images; auto: minmax in a backbone, percentile elsewhere."
        ),
    ] = "auto",
    calibration_images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your own photos of good parts to calibrate on, at least 8; no test image."),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="INT8: measure each layer alone in INT8, and list the results.")
    ] = False,
    backend: BackendOption = "auto",
    force: Annotated[bool, typer.Option("--force", help="Calibrate again, even if nothing has changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add an INT8, FP16 or bfloat16 graph to a run's bundle.

    bf16 and int8-bf16 are the FP32 and the INT8 graph with their float parts in bfloat16. The graph must pass an
    accuracy gate against FP32, run as an engine of the backend; the INT8 layers that cost most accuracy go back to
    float until it does. precision/int8.html in the bundle shows which, why, and their cost. Exports a missing bundle
    first.
    """
    from edge_ad.calibration.gate import GateLimits
    from edge_ad.export.build import run_of
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.export.precisions import with_precision
    from edge_ad.export.recipes import Listeners, RecipeOptions
    from edge_ad.runtime.backend import choose_backend
    from edge_ad.runtime.engines import first_that_works
    from edge_ad.runtime.verification import check_opens
    from edge_ad.training.runs import load_run

    choose_backend(backend)
    limits = GateLimits.of_drop(max_drop)
    opened = load_run(run_of(run))
    exported = is_current(opened) or export_run(opened, note)

    def add(name: str) -> tuple[str, Bundle]:
        check_opens(exported, name, "fp32", "graph")
        options = RecipeOptions(name, limits, ranges, calibration_images)
        listeners = Listeners(note, show_count)
        return name, with_precision(
            opened, exported, precision, options, listeners, force=force, sensitivity=sensitivity
        )

    name, bundle = first_that_works(backend, add)
    if as_json:
        print_json(_document(bundle, precision, name, sensitivity))
    else:
        _print(bundle, precision, sensitivity)


def _document(bundle: Bundle, precision: Gated, backend: str, sensitivity: bool) -> dict[str, Any]:
    from edge_ad.export.recipes import read_report

    document = {"bundle": bundle.root, "backend": backend, **bundle.graph(precision).model_dump()}
    report = read_report(bundle, precision)
    if sensitivity and "sensitivity" in report:
        document["sensitivity"] = report["sensitivity"]
    return document


def _print(bundle: Bundle, precision: Gated, sensitivity: bool) -> None:
    from edge_ad.export.precisions import recipes_of
    from edge_ad.export.recipes import read_report

    graph, report = bundle.graph(precision), read_report(bundle, precision)
    assert graph.gate is not None
    facts: dict[str, object] = {}
    for recipe in recipes_of(precision):
        facts |= recipe.facts(bundle, read_report(bundle, recipe.precision))
    print_facts(
        {
            "graph": bundle.graph_path(precision),
            **facts,
            "threshold": f"{graph.threshold.value:.6g} ({graph.threshold.rule})",
        }
    )
    rows = [[check, value, graph.gate.limits[check]] for check, value in graph.gate.checks.items()]
    print_table(["accuracy gate", "measured", "limit"], rows, title="")
    if sensitivity and "sensitivity" in report:
        _print_sensitivity(report)


def _print_sensitivity(report: dict[str, Any]) -> None:
    macs = report["macs"]
    rows = [
        [
            item["layer"],
            item["sqnr_db"],
            item["score_drift"],
            100 * macs["layers"].get(item["layer"], 0) / max(macs["total"], 1),
            "float" if item["layer"] in report["returned_layers"] else "int8",
        ]
        for item in report["sensitivity"]
    ]
    columns = ["layer alone in INT8", "SQNR at the map, dB", "score drift, sd", "arithmetic, %", "now"]
    print_table(columns, rows, title="\nSensitivity, the noisiest layer first")
