"""``edge-ad calibrate``: the INT8 graph of a run's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table
from edge_ad.cli.options import BackendOption, JsonOption

__all__ = ["calibrate"]


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    precision: Annotated[Literal["int8"], typer.Option(help="Precision to add.")] = "int8",
    max_drop: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Largest drop of image and of pixel AUROC against FP32.")
    ] = 0.005,
    ranges: Annotated[
        Literal["percentile", "mse", "minmax"], typer.Option(help="How ranges follow from the calibration images.")
    ] = "percentile",
    backend: BackendOption = "auto",
    force: Annotated[bool, typer.Option("--force", help="Calibrate again even if nothing has changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add an INT8 graph to a run's bundle.

    The graph must pass an accuracy gate against FP32, run as an engine of the backend; layers that cost too much
    accuracy go back to float. A missing bundle is exported first.
    """
    from edge_ad.calibration.gate import GateLimits
    from edge_ad.export.build import run_of
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.export.int8 import CalibrationOptions, calibrate_bundle, is_calibrated
    from edge_ad.runtime.backends import choose_backend
    from edge_ad.training.runs import load_run

    name, _ = choose_backend(backend)
    options = CalibrationOptions(name, ranges, GateLimits(image_auroc_drop=max_drop, pixel_auroc_drop=max_drop))
    opened = load_run(run_of(run))
    bundle = is_current(opened) or export_run(opened, note)
    if not force and is_calibrated(bundle, options):
        note("The INT8 graph is up to date.")
    else:
        bundle = calibrate_bundle(opened, bundle, options, note)
    graph = bundle.graph(precision)
    if as_json:
        print_json({"bundle": bundle.root, "backend": name, **graph.model_dump()})
        return
    assert graph.gate is not None
    print_facts(
        {
            "graph": bundle.graph_path(precision),
            "layers in INT8": graph.gate.quantised_layers,
            "returned to float": ", ".join(graph.gate.float_layers),
            "threshold": f"{graph.threshold.value:.6g} ({graph.threshold.rule})",
        }
    )
    rows = [[check, value, graph.gate.limits[check]] for check, value in graph.gate.checks.items()]
    print_table(["accuracy gate", "measured", "limit"], rows, title="")
