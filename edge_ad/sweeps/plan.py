"""From the file of a sweep to its cells."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_ad.data.products import list_good_photos
from edge_ad.errors import DataError, UsageError
from edge_ad.models.registry import method_class, parse_parameters
from edge_ad.sweeps.cells import Cell, make_cell
from edge_ad.sweeps.specification import MethodEntry, SweepFile

__all__ = ["TASK", "check_values", "photos_digest", "plan_cells", "product_digests", "training_cell"]

TASK = "edge_ad.sweeps.training_task:train_and_measure"
_SAME_SIZE = {".bmp", ".pbm", ".pgm", ".pnm", ".ppm", ".tif", ".tiff"}  # photos of one camera, mostly not compressed
_PART_BYTES = 1 << 16
_MOST_CELLS = 20_000


def plan_cells(sweep: SweepFile) -> list[Cell]:
    """The cells of a sweep: product by product, seed by seed, each with every method.

    So cells that need the same features of the same photos come one after the other.

    Raises:
        DataError: A product has no photos of good parts, or two have one name.
        UsageError: A method or a parameter is wrong, two cells are the same, or there are far too many.
    """
    _refuse_too_many(sweep)
    digests = product_digests(sweep)
    variants = [variant for entry in sweep.methods for variant in _variants(sweep, entry)]
    cells = [
        training_cell(sweep, entry, values, product, digests[product], seed)
        for product in sweep.products
        for seed in sweep.seeds
        for entry, values in variants
    ]
    _refuse_doubles(cells)
    return cells


def product_digests(sweep: SweepFile) -> dict[Path, str]:
    """Folder of each product → the digest of its photos.

    Raises:
        DataError: One has no photos of good parts, or two have one name.
        UsageError: The results would lie among the photos of one.
    """
    products = sweep.products
    names = [product.resolve().name for product in products]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"Two products are called {doubled[0]}.", "Rows tell them by the name of their folder.")
    for product in products:
        if sweep.out.resolve().is_relative_to(product.resolve()):
            message = (
                f"{sweep.out} lies in the product {product.name}: results would change what its cells are made of."
            )
            raise UsageError(message, "Give a folder of its own, such as out: sweeps/first")
        list_good_photos(product)
    return {product: photos_digest(product) for product in products}


def photos_digest(folder: Path) -> str:
    """A hash of what is in a product's folder: photos that are added or taken anew make other cells of it.

    It is of names and sizes, and of 64 KiB from the middle of files whose size does not tell what they show.

    Args:
        folder: Of the product.

    Raises:
        DataError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root) / name
            try:
                digest.update(os.fsencode(path.relative_to(folder).as_posix()) + b"\0" + _content(path) + b"\n")
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}.", "Take it away, or mend it.") from error
    return digest.hexdigest()[:16]


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if path.suffix.lower() not in _SAME_SIZE:
        return str(size).encode()
    with path.open("rb") as file:
        file.seek(max(0, size - _PART_BYTES) // 2)
        return str(size).encode() + b"\0" + file.read(_PART_BYTES)


def _variants(sweep: SweepFile, entry: MethodEntry) -> Iterator[tuple[MethodEntry, dict[str, Any]]]:
    fields = method_class(entry.method).parameters_type.model_fields
    common = {name: value for name, value in sweep.parameters.items() if name in fields}
    for chosen in itertools.product(*entry.grid.values()):
        values = {**common, **entry.parameters, **dict(zip(entry.grid, chosen, strict=True))}
        check_values(sweep, entry, values)
        yield entry, values


def check_values(sweep: SweepFile, entry: MethodEntry, values: Mapping[str, Any]) -> None:
    """Refuse what no cell could be trained with.

    Args:
        sweep: The sweep.
        entry: One of its methods.
        values: All its parameters.

    Raises:
        UsageError: A parameter or a seed is wrong, or a parameter of the sweep is none of any method's.
    """
    if "seed" in values:
        raise UsageError(f"{entry.method} is given a seed among its parameters.", "Name it under seeds.")
    everywhere = [method_class(each.method).parameters_type.model_fields for each in sweep.methods]
    for name in sweep.parameters:
        if not any(name in fields for fields in everywhere):
            raise UsageError(f"No method of the sweep has a parameter {name}.", "Look at parameters in the file.")
    fixed = {name: value for name, value in values.items() if (name, value) != _AUTO}
    for seed in sweep.seeds:
        parse_parameters(entry.method, {**fixed, "seed": seed})


_AUTO = ("mosaic", "auto")


def training_cell(
    sweep: SweepFile,
    entry: MethodEntry,
    values: Mapping[str, Any],
    product: Path,
    digest: str,
    seed: int,
    *,
    held_out_only: bool = False,
    looks: int = 0,
) -> Cell:
    """The cell of one training.

    Args:
        sweep: How it is trained.
        entry: Method, preset and speed.
        values: Parameters.
        product: Folder of the product.
        digest: Of its photos.
        seed: Of the training.
        held_out_only: Look at no test image: the figure of held-out good photos alone.
        looks: How often it is judged before its end, on the same photos.
    """
    method = method_class(entry.method).method
    what: dict[str, Any] = {
        "method": method,
        "values": dict(values),
        "preset": entry.preset,
        "speed": entry.speed,
        "seed": seed,
        "settings": sweep.settings.model_dump(mode="json"),
        "held_out_only": held_out_only,
    }
    device = "cuda" if sweep.limits.gpus and sweep.device == "auto" else sweep.device  # not the CPU without a word
    more = {"product": str(product.resolve()), "device": device, "keep_run": sweep.keep_runs}
    more |= {"looks": looks}
    labels = {"product": product.resolve().name, "method": method, "parameters": dict(values), "seed": seed}
    labels |= {name: value for name, value in (("preset", entry.preset), ("speed", entry.speed)) if value}
    identity = {**what, "product": product.resolve().name, "photos": digest}
    return make_cell(TASK, {**what, **more}, labels, group=method, identity=identity)


def _refuse_too_many(sweep: SweepFile) -> None:
    """Count the cells without making them: grids multiply."""
    combinations = sum(math.prod(len(values) for values in entry.grid.values()) for entry in sweep.methods)
    count = len(sweep.products) * len(sweep.seeds) * combinations
    if count > _MOST_CELLS:
        message = f"The sweep has {count:,} cells, and at most {_MOST_CELLS:,} are taken."
        raise UsageError(message, "Make several sweeps, or look for parameters with --search.")


def _refuse_doubles(cells: Sequence[Cell]) -> None:
    seen: set[str] = set()
    for cell in cells:
        if cell.key in seen:
            raise UsageError(f"The sweep has a cell twice: {cell.words}.", "Leave one of them out.")
        seen.add(cell.key)
