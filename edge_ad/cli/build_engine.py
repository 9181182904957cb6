"""``edge-ad build-engine``: engines for this machine, with all steps they need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_ad.cli.console import note, print_json, print_table
from edge_ad.cli.options import BackendOption, JsonOption, PrecisionChoice

__all__ = ["build_engine"]


def build_engine(
    target: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Folder of a run or of a bundle.")],
    backend: BackendOption = "auto",
    precision: Annotated[
        PrecisionChoice,
        typer.Option(help="What to build; auto: FP32 and all that is faster here and passes its accuracy gate."),
    ] = "auto",
    max_drop: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Accuracy gate: largest drop of image and of pixel AUROC against FP32."),
    ] = None,
    ranges: Annotated[
        Literal["auto", "percentile", "mse", "entropy", "minmax"] | None,
        typer.Option(
            help="INT8: how to derive ranges from the images; auto: minmax in a backbone, percentile elsewhere."
        ),
    ] = None,
    calibration_images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your own photos of good parts to calibrate on, at least 8.")
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="SM",
            help="GPU to build a TensorRT plan for: sm89, or sm86,sm89. TensorRT for RTX needs no GPU here.",
        ),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="TensorRT: largest batch a plan takes.")] = 8,
    opt_batch: Annotated[int, typer.Option(min=1, help="TensorRT: batch a plan is tuned for.")] = 1,
    workspace: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="TensorRT: largest workspace of a layer; 0 for no limit.")
    ] = 0,
    hardware_compatibility: Annotated[
        Literal["none", "ampere-plus", "same-compute-capability"],
        typer.Option(help="TensorRT: let the plan run on other GPUs too."),
    ] = "none",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="TensorRT: let the plan run with later versions.")
    ] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TensorRT: file of kernel timings; by default beside the engines."),
    ] = None,
    dla: Annotated[
        int | None, typer.Option("--dla", min=0, metavar="CORE", help="TensorRT: build for a DLA of a Jetson Orin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build a bundle's engines: for this machine, or TensorRT plans for RTX GPUs without one.

    Exports and calibrates a run first where that is missing or out of date. A bundle alone needs neither torch nor
    images.
    """
    from edge_ad.export.build import build_engines
    from edge_ad.export.precisions import GraphOptions
    from edge_ad.export.tensorrt.config import PlanOptions, parse_targets

    precisions = None if precision == "auto" else (precision,)
    plan = PlanOptions(
        targets=parse_targets(targets or []),
        max_batch=max_batch,
        opt_batch=opt_batch,
        workspace_mib=workspace,
        hardware_compatibility="" if hardware_compatibility == "none" else hardware_compatibility.replace("-", "_"),
        version_compatible=version_compatible,
        timing_cache=timing_cache,
        dla_core=dla,
    )
    graph = GraphOptions(max_drop, ranges, calibration_images)
    built = build_engines(target, backend=backend, precisions=precisions, plan=plan, graph=graph, log=note)
    if as_json:
        print_json(
            [
                {"path": item.engine.path, "was_current": item.was_current, **item.engine.sidecar.model_dump()}
                for item in built
            ]
        )
        return
    rows = [
        [
            item.engine.path.name,
            item.engine.sidecar.backend_version,
            item.engine.sidecar.threshold.value,
            item.engine.sidecar.latency_ms,
        ]
        for item in built
    ]
    print_table(["engine", "version", "threshold", "ms per frame"], rows)
