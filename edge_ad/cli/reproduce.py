"""``edge-ad reproduce``: a paper's table, run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from edge_ad.reproduction.plan import Chosen
    from edge_ad.reproduction.recipes import Options
    from edge_ad.reproduction.run import Reproduction
    from edge_ad.reproduction.tables import Table

__all__ = ["reproduce"]

_TABLE_HELP = "Id of the table, such as 001/1; --list names them."
_DATA_HELP = "Folder whose folders are the categories; for a table of several data sets mvtec=DIR. Repeatable."
_OUT_HELP = "Folder of runs, rows and tables; all tables share what they have in common."
_DEVICE_HELP = "auto, cpu, cuda or cuda:N; several, as cuda:0,cuda:1, share the cells, one process each."
_CHOOSE_HELP = (
    "FADeR's learning rate and schedule, of which the paper gives nine: held-out (on held-out good photos and "
    "pseudo-defects), preset, or RATE:SCHEDULE such as 1e-4:sgdr."
)
_QUICK_HELP = "Try it out: tiny networks, one epoch, any number of photos. No figure means anything."
_WEIGHTS_HELP = "Folder with state dicts of backbones, such as wide-resnet50.pth, where there is no network."
_COUNTS_HELP = "Go on where a category has not as many photos as published."


def reproduce(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help=_TABLE_HELP)] = None,
    data: Annotated[list[str] | None, typer.Option(metavar="[NAME=]DIR", help=_DATA_HELP)] = None,
    out: Annotated[Path, typer.Option(help=_OUT_HELP)] = Path("reproduction"),
    device: Annotated[str, typer.Option(help=_DEVICE_HELP)] = "auto",
    categories: Annotated[str, typer.Option(help="Only these, separated by commas.")] = "",
    column: Annotated[list[str] | None, typer.Option("--column", help="Only this column. Repeatable.")] = None,
    textures: Annotated[Path | None, typer.Option(help="Photographs to paint defects with: DTD/images.")] = None,
    choose: Annotated[str, typer.Option(metavar="HOW", help=_CHOOSE_HELP)] = "held-out",
    weights: Annotated[Path | None, typer.Option(help=_WEIGHTS_HELP)] = None,
    accept_counts: Annotated[bool, typer.Option("--accept-counts", help=_COUNTS_HELP)] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the networks that are trained.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that simulate defects.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help=_QUICK_HELP)] = False,
    list_tables: Annotated[bool, typer.Option("--list", help="Name the tables, and stop.")] = False,
    json: JsonOption = False,
) -> None:
    """Train and measure what a paper's table needs, and write it with the published figure beside ours.

    Each category is trained as the paper trains (train --preset published). What was stopped or killed goes on with the
    same command. Not yet run on a GPU (docs/how-to/reproduce.md).
    """
    from edge_ad.errors import UsageError
    from edge_ad.reproduction.recipes import Options
    from edge_ad.reproduction.tables import table_of

    if list_tables:
        _print_tables(as_json=json)
        return
    if table is None or not data:
        what = "The table is" if table is None else "The photos are"
        raise UsageError(f"{what} missing.", "edge-ad reproduce 001/1 --data DIR; --list names the tables")
    found, chosen = table_of(table), _chosen(data, categories, column or [])
    options = Options(device, quick, textures, choose, weights, compiled, workers)
    _report(_made(found, chosen, out, options, accept_counts=accept_counts), as_json=json)


def _chosen(data: Sequence[str], categories: str, columns: Sequence[str]) -> Chosen:
    from edge_ad.errors import UsageError
    from edge_ad.reproduction.datasets import DATASETS
    from edge_ad.reproduction.plan import Chosen

    roots: dict[str, Path] = {}
    for text in data:
        name, separator, folder = text.partition("=")
        key = name if separator and name in DATASETS else ""
        if key in roots:
            raise UsageError(f"--data names {key or 'a folder'} twice.", "Name each data set once: --data mvtec=DIR")
        roots[key] = Path(folder if key else text)
    wanted = tuple(name for each in categories.split(",") if (name := each.strip()))
    return Chosen(roots, wanted, tuple(columns))


def _made(table: Table, chosen: Chosen, out: Path, options: Options, *, accept_counts: bool) -> Reproduction:
    from edge_ad.cli.console import note, show_count
    from edge_ad.cli.progress import EpochProgress
    from edge_ad.reproduction.run import reproduce as run_table
    from edge_ad.sweeps.cells import Told

    with EpochProgress() as epoch:
        told = Told(note, epoch, show_count)
        return run_table(table, chosen, out, options, told, accept_counts=accept_counts)


def _report(made: Reproduction, *, as_json: bool) -> None:
    from edge_ad.cli.console import note, print_document
    from edge_ad.errors import EdgeAdError

    print_document((made.record if as_json else made.markdown).read_text(encoding="utf-8"))
    note(f"Table: {made.markdown} and {made.record}")
    if made.failed:
        count = f"{len(made.failed)} cells" if len(made.failed) > 1 else "A cell"
        raise EdgeAdError(f"{count} could not be run: {made.failed[0]}", "Mend it and give the same command again.")


def _print_tables(*, as_json: bool) -> None:
    from edge_ad.cli.console import print_json, print_table
    from edge_ad.reproduction.datasets import DATASETS
    from edge_ad.reproduction.tables import read_tables

    tables = read_tables().values()
    if as_json:
        print_json([table.model_dump() for table in tables])
        return
    rows = [
        [
            table.id,
            ", ".join(DATASETS[part.dataset].key for part in table.parts),
            f"{len(table.own)} of {len(table.columns)}",
            table.title,
        ]
        for table in tables
    ]
    print_table(["table", "data", "columns that run here", "what it is"], rows)
