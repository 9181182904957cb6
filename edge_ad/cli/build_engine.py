"""``edge-ad build-engine``: engines of this machine, with every step that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_ad.cli.console import note, print_json, print_table
from edge_ad.cli.options import BackendOption, JsonOption

__all__ = ["build_engine"]


def build_engine(
    target: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Folder of a run or of a bundle.")],
    backend: BackendOption = "auto",
    precision: Annotated[
        Literal["auto", "int8", "fp32", "fp16"], typer.Option(help="What to build; auto: INT8 and FP32 beside it.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Build a bundle's engines for this machine.

    A run is exported and calibrated first where that is missing or out of date. A bundle alone needs neither torch nor
    images.
    """
    from edge_ad.export.build import build_engines

    precisions = None if precision == "auto" else (precision,)
    built = build_engines(target, backend=backend, precisions=precisions, say=note)
    if as_json:
        print_json(
            [
                {"path": item.engine.path, "was_current": item.was_current, **item.engine.sidecar.model_dump()}
                for item in built
            ]
        )
        return
    rows = [
        [item.engine.path.name, item.engine.sidecar.backend_version, item.engine.sidecar.threshold.value]
        for item in built
    ]
    print_table(["engine", "version", "threshold"], rows)
