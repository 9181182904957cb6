"""What a cell of a table does, wherever it runs: train as the paper does, measure, and give the row."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_ad import __version__
from edge_ad.reproduction.measuring import measure_run
from edge_ad.reproduction.plan import Cell, check_counts
from edge_ad.reproduction.recipes import Options
from edge_ad.reproduction.tables import Recipe
from edge_ad.reproduction.training import Workshop
from edge_ad.sweeps.cells import Cell as SweepCell
from edge_ad.sweeps.cells import Told, make_cell
from edge_ad.training.precision import choose_device
from edge_ad.training.runs import package_versions

__all__ = ["sweep_cell", "train_and_measure"]


def sweep_cell(cell: Cell, words: str, photos: Path, out: Path, options: Options, shifts: Sequence[str]) -> SweepCell:
    """A cell of a table as one of a sweep.

    Args:
        cell: Of the table.
        words: What it is called where progress is shown.
        photos: Folder of its category.
        out: Folder of runs and rows.
        options: What a user chose.
        shifts: Kinds of shift to measure on as well.
    """
    paths = {"photos": str(photos.resolve()), "out": str(out.resolve())}
    arguments = {
        "cell": {**dataclasses.asdict(cell), "recipe": cell.recipe.model_dump(mode="json")},
        "options": {name: _path(value) for name, value in dataclasses.asdict(options).items()},
        "shifts": list(shifts),
        "words": words,
        **paths,
    }
    labels = {"words": words}
    identity = {"key": cell.key, "shifts": list(shifts)}
    return make_cell(f"{__name__}:train_and_measure", arguments, labels, group=cell.recipe.method, identity=identity)


def _path(value: object) -> object:
    return str(value.resolve()) if isinstance(value, Path) else value


def train_and_measure(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """Train, or go on, and measure.

    Args:
        arguments: As `sweep_cell` makes them.
        folder: Of the cell; runs are not in it, since other cells and tables share them.
        told: Who is told.

    Returns:
        The row.

    Raises:
        EdgeAdError: It cannot be trained or measured.
    """
    told.note(arguments["words"])
    cell, options = _cell(arguments["cell"]), _options(arguments["options"])
    photos, began = Path(arguments["photos"]), time.monotonic()
    out = Path(arguments["out"])
    workshop = Workshop(out, cell.dataset, cell.category, photos, options, told.epoch, told.note)
    trained = workshop.trained(cell.recipe)
    trained_at = time.monotonic()
    shifts = arguments["shifts"]
    metrics = measure_run(trained.run, photos, shifts=shifts, device=options.device, progress=told.progress)
    counts, _ = check_counts({(cell.dataset, cell.category): photos})
    return {
        "key": cell.key,
        "dataset": cell.dataset,
        "category": cell.category,
        "recipe": cell.recipe.model_dump(),
        "seed": cell.recipe.seed,
        "quick": options.quick,
        "device": str(choose_device(options.device)),
        "photos": counts[cell.dataset][cell.category]._asdict(),
        "choice": trained.choice,
        **metrics,
        "train_seconds": round(trained_at - began, 1),
        "measure_seconds": round(time.monotonic() - trained_at, 1),
        "textures": options.textures is not None,
        "versions": {"edge-ad": __version__, **package_versions()},
        "recorded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _cell(document: Mapping[str, Any]) -> Cell:
    return Cell(**{**document, "recipe": Recipe.model_validate(document["recipe"])})


def _options(document: Mapping[str, Any]) -> Options:
    paths = {name: Path(document[name]) for name in ("textures", "weights") if document[name] is not None}
    return Options(**{**document, **paths})
