"""``edge-ad export``: a run as a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json
from edge_ad.cli.options import JsonOption, PrecisionOption, takes_groups
from edge_ad.errors import UsageError

__all__ = ["ExportedRun", "ServedModel", "export"]

_server_option = partial(typer.Option, rich_help_panel="Server")


@dataclass(frozen=True)
class ExportedRun:
    """What is exported."""

    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run; with --triton, or a bundle.")]
    force: Annotated[bool, typer.Option("--force", help="Export again, even if the bundle is up to date.")] = False
    as_json: JsonOption = False


@dataclass(frozen=True)
class ServedModel:
    """The bundle as a model of a server."""

    triton: Annotated[
        Path | None,
        _server_option("--triton", metavar="DIR", help="Also write the bundle into this model repository of Triton."),
    ] = None
    name: Annotated[
        str, _server_option("--model", metavar="NAME", help="Its name there; by default the product's.")
    ] = ""
    precision: PrecisionOption = "auto"
    backend: Annotated[
        str,
        _server_option("--backend", help="What runs it there: the graph, or a plan that build-engine built."),
    ] = "onnxruntime"
    target: Annotated[str, _server_option("--target", help="GPU of the plan, where there are several.")] = ""
    most_images: Annotated[int, _server_option("--max-batch", min=1, max=1024, help="Images in one batch.")] = 8
    longest_wait_us: Annotated[
        int,
        _server_option(
            "--batch-wait", metavar="MICROSECONDS", min=0, max=1_000_000, help="How long an image waits for others."
        ),
    ] = 500
    instances: Annotated[int, _server_option("--instances", min=1, max=64, help="Copies that work side by side.")] = 1


@takes_groups
def export(exported: ExportedRun, served: ServedModel) -> None:
    """Write a run as a bundle, ready for devices; and a bundle as a model of a server.

    The bundle lands in RUN/bundle: the FP32 graph, its threshold, and reference outputs to check engines against.
    """
    if served.triton is None and served != ServedModel():
        raise UsageError("Options of a server have no effect without --triton.", "Add --triton DIR.")
    run, as_json = exported.run, exported.as_json
    is_bundle = (run / "manifest.json").is_file()
    if served.triton is None or not is_bundle:
        _export_run(run, force=exported.force, as_json=as_json and served.triton is None)
    if served.triton is not None:
        _write_model(run if is_bundle else run / "bundle", served.triton, served, as_json=as_json)


def _write_model(bundle: Path, folder: Path, served: ServedModel, *, as_json: bool) -> None:
    from edge_ad.bundle import Bundle
    from edge_ad.export.triton import TritonOptions, served_precision, write_triton_model

    options = TritonOptions(
        served.name, served.backend, served.target, served.most_images, served.longest_wait_us, served.instances
    )
    opened = Bundle.open(bundle)
    precision = served_precision(opened, served.precision, options)
    version = write_triton_model(opened, precision, folder, options)
    model = version.parent
    facts = {"model": model, "version": version.name, "precision": precision, "backend": served.backend}
    if as_json:
        print_json(facts)
        return
    print_facts(facts)
    note(f"next: edge-ad stream --bundle {bundle} --server grpc://HOST:8001/{model.name} --camera 0")


def _export_run(run: Path, *, force: bool, as_json: bool) -> None:
    from edge_ad.export.build import run_of
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.training.runs import load_run

    opened = load_run(run_of(run))
    bundle = None if force else is_current(opened)
    if bundle is None:
        bundle = export_run(opened, note)
    else:
        note("The bundle is up to date.")
    graph = bundle.graph("fp32")
    facts = {
        "bundle": bundle.root,
        "method": bundle.manifest.method,
        "input": "{} x {} pixels".format(*bundle.manifest.input_size_hw),
        "graph": graph.file,
        "threshold": graph.threshold,
    }
    if as_json:
        print_json(facts)
    else:
        print_facts({**facts, "threshold": f"{graph.threshold.value:.6g} ({graph.threshold.rule})"})
