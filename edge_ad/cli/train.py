"""``edge-ad train``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_ad.cli.options import DefectOption, GoodOption, JsonOption, MasksOption, named_folders
from edge_ad.cli.train_report import report_run
from edge_ad.method_names import DEFAULT_METHOD, METHODS, SPEEDS

if TYPE_CHECKING:
    from edge_ad.data.products import Folders

__all__ = ["train"]

_METHOD_HELP = f"{', '.join(METHODS.names())}; {DEFAULT_METHOD} if not given."
_PARAMETER_HELP = "Parameter of the method, NAME=VALUE; docs/explanation/methods.md lists them. Repeatable."
_SPEED_HELP = (
    f"What a frame may cost: {', '.join(SPEEDS)}. It chooses backbone and size of a detector on patch features; "
    "-p, --size and --preset go before it."
)
_PRESET_HELP = (
    "Parameters and settings that belong together: edge (what is taken without), published (the paper's), and where a "
    "method has them robust, plain or few-photos. Every other option goes before it."
)
_DATA_HELP = "Folder of the product's photos; once more for each folder of further photos.  [required, or --good]"
_SIZE_HELP = "Network's input, in pixels: the side of a square (256), or height x width (160x416)."
_TILES_HELP = (
    "Tiles of a large input, one after the other: auto, or rows x columns; for detectors on patch features. auto cuts "
    "an input of more than a million pixels."
)
_GEOMETRY_HELP = (
    "How a photo fills the input: stretched, whole with a border, its centre, or the part found, turned and cut out. "
    "auto, the default, decides by the photos, and gives the input their shape."
)
_CROP_HELP = "With --geometry crop: share of the middle's sides that is cut out, such as 0.875; by default 1."
_COMPILE_HELP = "Compile the networks that are trained, by torch.compile: minutes once, for long trainings on a GPU."
_ALL_PHOTOS_HELP = (
    "Train on every good photo, as papers do; then none is left for a threshold that holds. By default some are held "
    "out, where a method is not cross-fitted."
)
_WITH_RESUME = frozenset({"method", "resume", "check_photos", "json"})  # all other options are settings of a new run
_LABELLED_HELP = (
    "Folder of photos of defective parts to learn from, for supersimplenet; masks lie beside them, in a folder masks, "
    "or in --masks. Without a mask it learns that a photo shows a defect, and not where. Repeatable."
)
_WORKERS_HELP = "Processes that simulate defects for draem and dsr; by default one per spare core, at most 4."


def train(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(help=_METHOD_HELP)] = None,
    data: Annotated[list[Path] | None, typer.Option(help=_DATA_HELP)] = None,
    good: GoodOption = None,
    defect: DefectOption = None,
    masks: MasksOption = None,
    labelled_defects: Annotated[list[Path] | None, typer.Option(help=_LABELLED_HELP)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; by default the product's.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help=_PARAMETER_HELP)] = None,
    preset: Annotated[str, typer.Option(help=_PRESET_HELP)] = "",
    speed: Annotated[str, typer.Option(help=_SPEED_HELP)] = "",
    size: Annotated[str | None, typer.Option(help=_SIZE_HELP)] = None,
    tiles: Annotated[str | None, typer.Option(help=_TILES_HELP)] = None,
    seed: Annotated[int, typer.Option(help="Seed for the split, the weights and the order.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of the first stage.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images per step; by default 4.")] = None,
    ear: Annotated[Path | None, typer.Option(help="A finished EAR run to put FADeR on.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    geometry: Annotated[
        Literal["auto", "stretch", "letterbox", "crop", "align"] | None,
        typer.Option("--geometry", "--fit", help=_GEOMETRY_HELP),
    ] = None,
    crop_share: Annotated[float | None, typer.Option(help=_CROP_HELP)] = None,
    flips: Annotated[bool | None, typer.Option(help="Mirror images at random; by default they are.")] = None,
    amp: Annotated[bool | None, typer.Option(help="bfloat16 where the hardware has it; by default on.")] = None,
    all_photos: Annotated[bool | None, typer.Option("--all-photos/--hold-out", help=_ALL_PHOTOS_HELP)] = None,
    compiled: Annotated[bool, typer.Option("--compile", help=_COMPILE_HELP)] = False,
    workers: Annotated[int | None, typer.Option(min=0, help=_WORKERS_HELP)] = None,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave unreadable images out.")] = False,
    check_photos: Annotated[bool, typer.Option(help="After training, name the good photos that look oddest.")] = True,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of good parts that may be called defective; the threshold is set for it.")
    ] = 0.05,
    resume: Annotated[Path | None, typer.Option(help="Continue this stopped run.")] = None,
    json: JsonOption = False,
    methods: Annotated[bool, typer.Option("--methods", help="Say which method is for what, and stop.")] = False,
) -> None:
    """Fit a detector to photos of good parts, without a look at any test image.

    supersimplenet learns from labelled defects too; evaluate and compare leave those out.

    Take the photos as the line's frames come: the same camera, settings, codec and region. edge-ad capture does.
    """
    from edge_ad.cli.progress import EpochProgress
    from edge_ad.training import train as training
    from edge_ad.training.request import TrainingRequest

    if methods:
        _print_methods(as_json=json)
        return
    if resume is not None:
        _refuse_settings(context)
    folders = named_folders(good, defect, masks, more=(data or [])[1:])
    product = data[0] if data else None
    root = resume or runs / (name or _product_name(product, folders))
    with _hint_at_resume(root), EpochProgress() as listen:
        if resume is not None:
            root = training.resume(resume, listen, method=method)
        else:
            request = TrainingRequest(
                method=_required(method, product, folders),
                data=product,
                root=root,
                values=_values(parameter or [], size=size, tiles=tiles, seed=seed, epochs=epochs),
                preset=preset,
                speed=speed,
                device=device,
                batch_size=batch_size,
                flips=flips,
                mixed_precision=amp,
                skip_unreadable=skip_unreadable,
                ear=ear,
                geometry=geometry,
                crop_share=crop_share,
                compiled=compiled,
                all_photos=all_photos,
                workers=_spare_cores() if workers is None else workers,
                folders=folders,
                false_alarm_rate=false_alarm_rate,
                labelled=tuple(labelled_defects or ()),
            )
            root = training.train(request, listen)
    report_run(root, check_photos=check_photos, as_json=json)


def _refuse_settings(context: typer.Context) -> None:
    """A resumed run has its settings: what is given beside it would do nothing."""
    from edge_ad.errors import UsageError

    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _WITH_RESUME
        and getattr(context.get_parameter_source(parameter.name or ""), "name", "") == "COMMANDLINE"
    ]
    if given:
        message = f"{', '.join(given)}: a resumed run keeps the settings that it was started with."
        raise UsageError(message, "Leave them out; or train anew under another --name.")


def _required(method: str | None, data: Path | None, folders: Folders) -> str:
    """The method, where the photos are given; the default one is named."""
    from edge_ad.cli.console import note
    from edge_ad.errors import UsageError

    if not (data or folders.good):
        is_folder = method is not None and Path(method).is_dir()
        words = ["edge-ad", "train", "--data", str(method) if is_folder else "FOLDER"]
        raise UsageError("The photos are missing.", f"{shlex.join(words)}, or --good FOLDER")
    if method is None:
        note(f"Method: {DEFAULT_METHOD}, which measured best; edge-ad train --methods says what the others are for.")
    return method or DEFAULT_METHOD


def _print_methods(*, as_json: bool) -> None:
    from edge_ad.cli.console import print_json, print_table
    from edge_ad.models.base import AnomalyDetector
    from edge_ad.models.registry import method_class

    kinds = {name: method_class(name) for name in METHODS.names()}
    rows = {
        name: {
            "aliases": kind.aliases,
            "purpose": kind.purpose,
            "training_time": kind.training_time,
            "draws_normal": kind.reconstruct is not AnomalyDetector.reconstruct,
            "is_default": name == DEFAULT_METHOD,
        }
        for name, kind in kinds.items()
    }
    if as_json:
        print_json(rows)
        return
    columns = ["method", "also called", "trains in", "draws normal", "what it is for"]
    cells = [
        [name, ", ".join(kinds[name].aliases), row["training_time"], row["draws_normal"], row["purpose"]]
        for name, row in rows.items()
    ]
    print_table(columns, cells)


def _product_name(data: Path | None, folders: Folders) -> str:
    from edge_ad.data.layouts.layout import common_root

    return (data or (common_root(folders) if folders.good else Path())).resolve().name


@contextmanager
def _hint_at_resume(root: Path) -> Iterator[None]:
    from edge_ad.cli.console import note

    try:
        yield
    except KeyboardInterrupt:
        if (root / "run.json").is_file() and not (root / "checkpoint.safetensors").is_file():
            note(f"Stopped. To continue: {shlex.join(['edge-ad', 'train', '--resume', str(root)])}")
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
