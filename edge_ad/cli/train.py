"""``edge-ad train``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.options import DefectOption, GoodOption, JsonOption, MasksOption

if TYPE_CHECKING:
    from edge_ad.data.products import Folders

__all__ = ["train"]

_PARAMETER_HELP = "Parameter of the method, NAME=VALUE; repeat it for more. docs/methods.md lists them."
_WORKERS_HELP = "Processes that simulate defects for draem; by default one per spare core, at most 4."


def train(
    method: Annotated[str | None, typer.Argument(help="fader, ear, patch-gaussian or another method.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the product's photos.")] = None,
    good: GoodOption = None,
    defect: DefectOption = None,
    masks: MasksOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default the product's.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help=_PARAMETER_HELP)] = None,
    size: Annotated[int | None, typer.Option(help="Side of the images the network sees, pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, the weights and the order.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of the first stage.")] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 4,
    ear: Annotated[Path | None, typer.Option(help="A finished EAR run to put FADeR on.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    fit: Annotated[
        Literal["stretch", "letterbox", "crop"],
        typer.Option(help="How a photo fills the square: squeezed, whole, or its middle alone."),
    ] = "stretch",
    flips: Annotated[bool, typer.Option(help="Mirror images at random.")] = True,
    amp: Annotated[bool, typer.Option(help="bfloat16 where the hardware has it.")] = True,
    workers: Annotated[int | None, typer.Option(min=0, help=_WORKERS_HELP)] = None,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable images out.")] = False,
    resume: Annotated[Path | None, typer.Option(help="Go on with this stopped run.")] = None,
    json: JsonOption = False,
) -> None:
    """Fit a detector to photos of good parts; no test image is looked at."""
    from edge_ad.cli.console import note, print_facts, print_json
    from edge_ad.cli.epochs import EpochProgress
    from edge_ad.cli.product_folders import named_folders
    from edge_ad.errors import UsageError
    from edge_ad.training import train as training
    from edge_ad.training.runs import read_record

    folders = named_folders(good, defect, masks)
    root = resume or runs / (name or _product_name(data, folders))
    with _say_how_to_go_on(root), EpochProgress() as listen:
        if resume is not None:
            root = training.resume(resume, listen, method=method)
        else:
            if method is None or not (data or folders.good):
                raise UsageError("Say what to train and on what.", "edge-ad train fader --data FOLDER, or --good DIR")
            values = _values(parameter or [], size=size, seed=seed, epochs=epochs)
            request = training.TrainingRequest(
                method=method,
                data=data,
                root=root,
                values=values,
                device=device,
                batch_size=batch_size,
                flips=flips,
                mixed_precision=amp,
                skip_unreadable=skip_unreadable,
                ear=ear,
                fit=fit,
                workers=_spare_cores() if workers is None else workers,
                folders=folders,
            )
            root = training.train(request, listen)
    record = read_record(root)
    seconds = record.training.get("seconds")
    if json:
        print_json({"run": root, "method": record.method, "seconds": seconds, "choices": record.choices})
    else:
        images = {part: len(getattr(record.split, part)) for part in ("fit", "calibrate", "threshold")}
        print_facts({"run": root, "method": record.method, "seconds": seconds, "images": images})
        note(f"next: edge-ad build-engine {root}")


def _product_name(data: Path | None, folders: Folders) -> str:
    from edge_ad.data.layouts import common_root

    return (data or (common_root(folders) if folders.good else Path())).resolve().name


@contextmanager
def _say_how_to_go_on(root: Path) -> Iterator[None]:
    from edge_ad.cli.console import note

    try:
        yield
    except KeyboardInterrupt:
        if (root / "run.json").is_file() and not (root / "checkpoint.safetensors").is_file():
            note(f"Stopped. To go on: edge-ad train --resume {root}")
        raise


def _spare_cores() -> int:
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, cores - 1)


def _values(parameters: list[str], **given: Any) -> dict[str, Any]:
    from edge_ad.errors import UsageError

    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for text in parameters:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"--parameter {text!r} is not NAME=VALUE.", "For example: -p mask_source=full")
        values[key.replace("-", "_")] = value
    return values
