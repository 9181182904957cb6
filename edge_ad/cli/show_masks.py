"""``edge-ad show-masks``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.options import JsonOption

if TYPE_CHECKING:
    from edge_ad.evaluation.mask_sheet import ShownPhoto
    from edge_ad.training.runs import Run

__all__ = ["show_masks"]

_RUNS_HELP = "Finished runs of ear or fader; several stand side by side, such as those of different mask sources."
_DATA_HELP = "Folder of photos to show; without it held-out good photos of the first run with simulated defects."


def show_masks(
    runs: Annotated[list[Path], typer.Argument(help=_RUNS_HELP)],
    data: Annotated[Path | None, typer.Option(help=_DATA_HELP)] = None,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("masks.png"),
    count: Annotated[int, typer.Option(min=1, max=64, help="Photos to show.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated defects.")] = 0,
    json: JsonOption = False,
) -> None:
    """Draw what runs of ear and fader hide of photos, what they attenuate, restore and find."""
    from edge_ad.cli.console import print_facts, print_json
    from edge_ad.evaluation.drawing import encode_png
    from edge_ad.evaluation.mask_sheet import draw_mask_sheet
    from edge_ad.storage import write_file
    from edge_ad.training.mask_views import mask_columns, masking_detector
    from edge_ad.training.runs import load_run

    opened = [load_run(root) for root in runs]
    for run in opened:
        masking_detector(run)  # before anything is computed
    photos = _photos(opened, data, count, seed)
    columns = [mask_columns(run, seen) for run, seen in zip(opened, photos, strict=True)]
    source = f"Photos of {data}" if data else "Held-out good photos with simulated defects (outlined)"
    sheet = draw_mask_sheet(
        photos[0],
        columns,
        title=f"Masks on {opened[0].product_name}",
        subtitle=f"{source}. Green in the heat map: as much as in good photos.",
    )
    write_file(out, encode_png(sheet))
    hidden = {
        str(run.root): float(sum(photo.hidden.mean() for photo in column.photos) / len(column.photos))
        for run, column in zip(opened, columns, strict=True)
    }
    if json:
        print_json({"sheet": out, "photos": len(photos[0]), "hidden_share": hidden})
    else:
        shares = {f"hidden by {Path(root).name}": f"{share:.1%}" for root, share in hidden.items()}
        print_facts({"sheet": out, "photos": len(photos[0]), **shares})


def _photos(runs: Sequence[Run], data: Path | None, count: int, seed: int) -> list[list[ShownPhoto]]:
    """The photos of the sheet, as each run sees them."""
    from edge_ad.errors import UsageError
    from edge_ad.training.mask_views import held_out_photos, read_photos

    if data is not None:
        paths = _spread(data, count)
        return [read_photos(run, paths) for run in runs]
    first = runs[0]
    for run in runs[1:]:
        if run.detector.config.size_hw != first.detector.config.size_hw or run.split.photos != first.split.photos:
            raise UsageError(
                f"{run.root} sees photos in another size or geometry than {first.root}.",
                "Name a folder of photos: --data FOLDER",
            )
    return [held_out_photos(first, count, seed)] * len(runs)


def _spread(folder: Path, count: int) -> list[Path]:
    """Photos of a folder and the folders inside it, at equal steps of their order."""
    from edge_ad.errors import DataError
    from edge_ad.photo_files import find_photos

    found = find_photos(folder, recursive=True).photos
    if not found:
        raise DataError(f"There are no photos in {folder}.", "Name a folder with photos.")
    kept = min(count, len(found))
    return [found[index * len(found) // kept] for index in range(kept)]
