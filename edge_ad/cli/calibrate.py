"""``edge-ad calibrate``: the INT8, FP16 or bfloat16 graph of a run's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.console import note, print_facts, print_json, print_table, show_count
from edge_ad.cli.options import BackendOption, JsonOption

if TYPE_CHECKING:
    from edge_ad.bundle import Bundle
    from edge_ad.export.bf16 import Bf16Options
    from edge_ad.export.fp16 import Fp16Options
    from edge_ad.export.int8 import CalibrationOptions
    from edge_ad.training.runs import Run

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
        typer.Option(help="INT8: how ranges follow from the images; auto: minmax in a backbone, percentile elsewhere."),
    ] = "auto",
    calibration_images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your own photos of good parts to calibrate on, at least 8; no test image."),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="INT8: measure what each layer does alone, and list it.")
    ] = False,
    backend: BackendOption = "auto",
    force: Annotated[bool, typer.Option("--force", help="Calibrate again even if nothing has changed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Add an INT8, FP16 or bfloat16 graph to a run's bundle.

    bf16 and int8-bf16 are the FP32 and the INT8 graph, with what is float in them in bfloat16. The graph must pass an
    accuracy gate against FP32, run as an engine of the backend; the INT8 layers that cost most accuracy go back to
    float until it does. precision/int8.html in the bundle shows which, why, and what they cost. A missing bundle is
    exported first.
    """
    from edge_ad.calibration.gate import GateLimits
    from edge_ad.export.bf16 import Bf16Options
    from edge_ad.export.build import run_of
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.export.fp16 import Fp16Options
    from edge_ad.export.int8 import CalibrationOptions
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
        if precision == "fp16":
            return name, _with_fp16(opened, exported, Fp16Options(name, limits, calibration_images), force)
        if precision == "bf16":
            return name, _with_bf16(opened, exported, Bf16Options("fp32", limits, calibration_images), force)
        options = CalibrationOptions(name, ranges, limits, calibration_images)
        bundle = _with_int8(opened, exported, options, force, sensitivity)
        if precision == "int8-bf16":
            bundle = _with_bf16(opened, bundle, Bf16Options("int8", limits, calibration_images), force)
        return name, bundle

    name, bundle = first_that_works(backend, add)
    if as_json:
        print_json(_document(bundle, precision, name, sensitivity))
    else:
        _print(bundle, precision, sensitivity)


def _with_int8(run: Run, bundle: Bundle, options: CalibrationOptions, force: bool, sensitivity: bool) -> Bundle:
    from edge_ad.export.int8 import add_sensitivity, calibrate_bundle, is_calibrated

    if not force and is_calibrated(run, bundle, options):
        note("The INT8 graph is up to date.")
    else:
        bundle = calibrate_bundle(run, bundle, options, note, show_count)
    return add_sensitivity(run, bundle, options, note, show_count) if sensitivity else bundle


def _with_fp16(run: Run, bundle: Bundle, options: Fp16Options, force: bool) -> Bundle:
    from edge_ad.export.fp16 import add_fp16_graph, is_fp16_current

    if not force and is_fp16_current(run, bundle, options):
        note("The FP16 graph is up to date.")
        return bundle
    return add_fp16_graph(run, bundle, options, note)


def _with_bf16(run: Run, bundle: Bundle, options: Bf16Options, force: bool) -> Bundle:
    from edge_ad.export.bf16 import add_bf16_graph, is_bf16_current

    if not force and is_bf16_current(bundle, options):
        note(f"The {options.precision} graph is up to date.")
        return bundle
    return add_bf16_graph(run, bundle, options, note)


def _document(bundle: Bundle, precision: Gated, backend: str, sensitivity: bool) -> dict[str, Any]:
    from edge_ad.export.gated_graph import read_report

    document = {"bundle": bundle.root, "backend": backend, **bundle.graph(precision).model_dump()}
    if sensitivity and precision == "int8":
        document["sensitivity"] = read_report(bundle, precision)["sensitivity"]
    return document


def _print(bundle: Bundle, precision: Gated, sensitivity: bool) -> None:
    graph = bundle.graph(precision)
    assert graph.gate is not None
    print_facts(
        {
            "graph": bundle.graph_path(precision),
            **_facts(bundle, precision),
            "threshold": f"{graph.threshold.value:.6g} ({graph.threshold.rule})",
        }
    )
    rows = [[check, value, graph.gate.limits[check]] for check, value in graph.gate.checks.items()]
    print_table(["accuracy gate", "measured", "limit"], rows, title="")
    if sensitivity and precision == "int8":
        _print_sensitivity(bundle)


def _print_sensitivity(bundle: Bundle) -> None:
    from edge_ad.export.int8 import read_int8_report

    report = read_int8_report(bundle)
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


def _facts(bundle: Bundle, precision: Gated) -> dict[str, object]:
    if precision == "fp16":
        return _fp16_facts(bundle)
    return {} if precision == "bf16" else _int8_facts(bundle)


def _int8_facts(bundle: Bundle) -> dict[str, object]:
    from edge_ad.export.int8 import read_int8_report

    report = read_int8_report(bundle)
    return {
        "layers in INT8": f"{len(report['int8_layers'])}, {report['macs']['int8_share']:.1%} of the convolutions' "
        "arithmetic",
        "returned to float": ", ".join(report["returned_layers"]),
        "ranges": f"{report['calibration']['ranges']} on {report['calibration']['chosen']}",
        "report": bundle.root / "precision" / "int8.html",
    }


def _fp16_facts(bundle: Bundle) -> dict[str, object]:
    from edge_ad.export.fp16 import read_fp16_report

    report = read_fp16_report(bundle)
    return {
        "layers in FP16": len(report["fp16_layers"]),
        "nodes kept in FP32": f"{len(report['fp32_nodes'])} (each with its reason in precision/fp16.json)",
        "gated on": f"{report['engine']}; arithmetic: {report['arithmetic']}",
    }
