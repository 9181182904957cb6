"""Methods × products × seeds, with CPU time and peak memory of each training; goes on where it was stopped.

    python -m benchmarks.suites.accuracy_suite --data DIR/screw DIR/metal_plate --seeds 0 1 2 --out accuracy.jsonl
    python -m benchmarks.suites.accuracy_suite --show accuracy.jsonl [discriminator_table.jsonl]

Each training is a cell of a sweep, in a process of its own, so that its memory is its own: the whole way a user goes,
from photos to a run, in eager torch, evaluated on the test images. Rows that the file has are not measured again.
``--show`` prints means over seeds, and beside them, in columns of their own, what the papers report for their backbone
on their data sets: never the same experiment, so nothing is computed from both. Rows of
`benchmarks.discriminator_table` are shown too.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.rows import AccuracyRow
from benchmarks.report.tables import Table, accuracy_table, markdown
from benchmarks.suites.published import PRO_NOTE, published_columns
from benchmarks.suites.record import now, read_lines
from benchmarks.suites.row_cells import add_cell_options, measure_missing, row_cell
from edge_ad.data.products import open_product
from edge_ad.errors import UsageError
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.sweeps.cells import Cell, Told

_KEY = ("product", "size", "seed", "share", "method")
_DIGITS = 4


def split_method(text: str) -> tuple[str, dict[str, str]]:
    """``name:parameter=value,parameter=value`` → name and parameters.

    A value may hold commas: what has no ``=`` goes on the one before.

    Raises:
        UsageError: The first parameter has no value.
    """
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for item in rest.split(",") if rest else []:
        key, separator, value = item.partition("=")
        if separator:
            values[key] = value
        elif values:
            values[list(values)[-1]] += f",{item}"
        else:
            raise UsageError(f"{text} gives {item} no value.", "Write name:parameter=value,parameter=value.")
    return name, values


def run_name(product: str, method: str, seed: int) -> str:
    """Folder of a run: product, method and what it was given, but for paths, and seed."""
    name, values = split_method(method)
    given = [f"{key}{value}" for key, value in values.items() if "/" not in value]
    return "-".join([product, name, *given, str(seed)])


def measure(
    method: str, data: Path, size: int, seed: int, runs: Path | None = None, *, protocol: str = "exact"
) -> dict[str, Any]:
    """Train and evaluate in this process; returns the row. The run stays in ``runs``, where that is given.

    ``geometry`` among the parameters is the option of ``train``. With the protocol ``"paper"`` the row also has PRO as
    the code of SimpleNet and PBAS computes it.
    """
    product = open_product(data)  # before torch is imported: what is wrong with a folder is known at once

    from edge_ad.evaluation.paper_protocol import paper_metrics
    from edge_ad.training.predictor import open_run
    from edge_ad.training.request import TrainingRequest
    from edge_ad.training.train import train

    name, values = split_method(method)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        root = (runs or Path(folder)) / run_name(product.name, method, seed)
        geometry: Any = values.pop("geometry", "auto")
        request = TrainingRequest(name, data, root, {"size": size, "seed": seed, **values}, geometry=geometry)
        run = train(request, lambda report: None)
        seconds, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        subject = open_run(run, 0)
        # A benchmark's good photos may miss a shape that its test photos have: all of them count.
        photos = subject.photos.model_copy(update={"aspect_ratios": None})
        seen: list[Any] = []

        def predict(images: Any) -> Any:
            found = subject.predict(images)
            seen.extend(prediction.anomaly_map for prediction in found)
            return found

        found = evaluate(predict, product, subject.size_hw, photos=photos)
        metrics = dict(found.metrics)
        if protocol == "paper":
            metrics["pro_paper"] = paper_metrics(found.samples, found.scores, np.stack(seen), photos)["pro"]
    return {
        "kind": "accuracy",
        "recorded": now(),
        "product": product.name,
        "size": size,
        "seed": seed,
        "share": 1.0,
        "method": method,
        **{key: round(value, _DIGITS) for key, value in metrics.items()},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def measure_cell(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """As `measure`, as the task of a cell."""
    runs = arguments["runs"]
    data, kept = Path(arguments["data"]), None if runs is None else Path(runs)
    protocol = arguments["protocol"]
    return measure(arguments["method"], data, arguments["size"], arguments["seed"], kept, protocol=protocol)


def cells_of(chosen: argparse.Namespace) -> list[Cell]:
    """A cell for each row that is asked for."""
    return [
        row_cell(
            f"{__package__}.accuracy_suite:measure_cell",
            {"product": data.resolve().name, "size": chosen.size, "seed": seed, "share": 1.0, "method": method},
            data=str(data.resolve()),
            protocol=chosen.protocol,
            runs=None if chosen.runs is None else str(chosen.runs.resolve()),
        )
        for data in chosen.data
        for seed in chosen.seeds
        for method in chosen.methods
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Our means over seeds and the papers' figures in columns of their own, as Markdown."""
    ours = accuracy_table([AccuracyRow.model_validate(row) for row in rows])
    header, published = published_columns([row[1] for row in ours.rows])
    cells = [[*row, *extra] for row, extra in zip(ours.rows, published, strict=True)]
    made = markdown(Table([*ours.header, *header], cells, text_columns=ours.text_columns))
    return f"{made.rstrip()}\n\n{PRO_NOTE}"


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, nargs="+", default=[])
    made.add_argument("--methods", nargs="+", default=["patch-gaussian", "patch-metric", "patch-nearest"])
    made.add_argument("--seeds", type=int, nargs="+", default=[0])
    made.add_argument("--size", type=int, default=256)
    made.add_argument("--out", type=Path, default=Path("accuracy.jsonl"))
    made.add_argument("--runs", type=Path, help="keep the runs in this folder")
    made.add_argument("--protocol", choices=["exact", "paper"], default="exact", help="paper: also PRO as papers' code")
    made.add_argument("--show", type=Path, nargs="+")
    add_cell_options(made)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing, or print what is there."""
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.show:
        print(table([row for path in chosen.show for row in read_lines(path)]))
        return 0
    if not chosen.data:
        made.error("--data FOLDER is needed")
    return 1 if measure_missing(cells_of(chosen), _KEY, chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
