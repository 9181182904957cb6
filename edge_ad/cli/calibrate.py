"""``edge-ad calibrate``: the INT8 or FP16 graph of a run's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table
from edge_ad.cli.options import BackendOption, JsonOption

if TYPE_CHECKING:
    from edge_ad.bundle import Bundle
    from edge_ad.export.fp16 import Fp16Options
    from edge_ad.export.int8 import CalibrationOptions
    from edge_ad.manifest import GateReport
    from edge_ad.training.runs import Run

__all__ = ["calibrate"]


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    precision: Annotated[Literal["int8", "fp16"], typer.Option(help="Precision to add.")] = "int8",
    max_drop: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Largest drop of image and of pixel AUROC against FP32.")
    ] = 0.005,
    ranges: Annotated[
        Literal["percentile", "mse", "minmax"],
        typer.Option(help="INT8: how ranges follow from the calibration images."),
    ] = "percentile",
    backend: BackendOption = "auto",
    force: Annotated[bool, typer.Option("--force", help="Calibrate again even if nothing has changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add an INT8 or FP16 graph to a run's bundle.

    The graph must pass an accuracy gate against FP32, run as an engine of the backend; INT8 layers that cost too much
    accuracy go back to float. A missing bundle is exported first.
    """
    from edge_ad.calibration.gate import GateLimits
    from edge_ad.export.build import run_of
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.export.fp16 import Fp16Options
    from edge_ad.export.int8 import CalibrationOptions
    from edge_ad.runtime.backends import choose_backend
    from edge_ad.training.runs import load_run

    name, _ = choose_backend(backend)
    limits = GateLimits(image_auroc_drop=max_drop, pixel_auroc_drop=max_drop)
    opened = load_run(run_of(run))
    bundle = is_current(opened) or export_run(opened, note)
    bundle = (
        _with_fp16(opened, bundle, Fp16Options(name, limits), force)
        if precision == "fp16"
        else _with_int8(opened, bundle, CalibrationOptions(name, ranges, limits), force)
    )
    graph = bundle.graph(precision)
    if as_json:
        print_json({"bundle": bundle.root, "backend": name, **graph.model_dump()})
        return
    assert graph.gate is not None
    print_facts(
        {
            "graph": bundle.graph_path(precision),
            **(_fp16_facts(bundle) if precision == "fp16" else _int8_facts(graph.gate)),
            "threshold": f"{graph.threshold.value:.6g} ({graph.threshold.rule})",
        }
    )
    rows = [[check, value, graph.gate.limits[check]] for check, value in graph.gate.checks.items()]
    print_table(["accuracy gate", "measured", "limit"], rows, title="")


def _with_int8(run: Run, bundle: Bundle, options: CalibrationOptions, force: bool) -> Bundle:
    from edge_ad.export.int8 import calibrate_bundle, is_calibrated

    if not force and is_calibrated(bundle, options):
        note("The INT8 graph is up to date.")
        return bundle
    return calibrate_bundle(run, bundle, options, note)


def _with_fp16(run: Run, bundle: Bundle, options: Fp16Options, force: bool) -> Bundle:
    from edge_ad.export.fp16 import add_fp16_graph, is_fp16_current

    if not force and is_fp16_current(bundle, options):
        note("The FP16 graph is up to date.")
        return bundle
    return add_fp16_graph(run, bundle, options, note)


def _int8_facts(gate: GateReport) -> dict[str, object]:
    return {"layers in INT8": gate.quantised_layers, "returned to float": ", ".join(gate.float_layers)}


def _fp16_facts(bundle: Bundle) -> dict[str, object]:
    from edge_ad.export.fp16 import read_fp16_report

    report = read_fp16_report(bundle)
    return {
        "layers in FP16": len(report["fp16_layers"]),
        "nodes kept in FP32": f"{len(report['fp32_nodes'])} (each with its reason in precision/fp16.json)",
        "gated on": f"{report['engine']}; arithmetic: {report['arithmetic']}",
    }
