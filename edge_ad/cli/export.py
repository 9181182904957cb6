"""``edge-ad export``: a run as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_ad.cli.console import note, print_facts, print_json
from edge_ad.cli.options import JsonOption

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    force: Annotated[bool, typer.Option("--force", help="Export again, even if the bundle is up to date.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run as a bundle, ready for devices.

    The bundle lands in RUN/bundle: the FP32 graph, its threshold, and reference outputs to check engines against.
    """
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
