"""Arguments and options that several verbs share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

__all__ = [
    "BackendOption",
    "BundleArgument",
    "DefectOption",
    "GoodOption",
    "JsonOption",
    "MasksOption",
    "PrecisionChoice",
    "PrecisionOption",
    "ThreadsOption",
]

PrecisionChoice: TypeAlias = Literal["auto", "fp32", "bf16", "fp16", "int8", "int8-bf16"]

BundleArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the bundle.")]

BackendOption: TypeAlias = Annotated[
    str, typer.Option("--backend", help="Backend to run on; edge-ad doctor lists those of this machine.")
]

PrecisionOption: TypeAlias = Annotated[PrecisionChoice, typer.Option("--precision", help="Graph of the bundle to run.")]

ThreadsOption: TypeAlias = Annotated[
    int, typer.Option("--threads", min=0, help="CPU threads; 0 leaves it to the backend.")
]

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

GoodOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--good", help="Folder of photos of good parts, and all inside; repeat it for more."),
]

DefectOption: TypeAlias = Annotated[
    list[Path] | None, typer.Option("--defect", help="Folder of photos of defective parts; repeat it for more.")
]

MasksOption: TypeAlias = Annotated[Path | None, typer.Option("--masks", help="Folder of the masks of the defects.")]
