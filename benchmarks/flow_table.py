"""MSFlow beside the patch Gaussian: both engines of one run on the test images of a product.

    python -m benchmarks.flow_table --data FOLDER... --runs FOLDER --out flow_table.jsonl [--methods METHOD...]
        [--workers 2 --cores 1]
    python -m benchmarks.distillation_latency --methods patch-gaussian msflow... --out flow_latency.jsonl

A method is written ``name`` or ``name:parameter=value,parameter=value``. Runs are trained and built by the commands
that users have, with ``--geometry auto``; what is under ``--runs`` already is not made again. Each row is a cell of a
sweep. A build whose gate
refuses INT8 is a row that says so. Test photos of a shape that no training photo has are judged all the same: they
belong to the product's test. Rows that the file has are not measured again. Afterwards: ``python -m
benchmarks.flow_markdown``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.discriminator_int8 import edge_ad, metrics_of
from benchmarks.suites.accuracy_suite import run_name, split_method
from benchmarks.suites.row_cells import add_cell_options, measure_missing, row_cell
from edge_ad.bundle import Bundle
from edge_ad.sweeps.cells import Cell, Told

METHODS = ("patch-gaussian", "msflow")
_KEY = ("product", "method", "seed")
_PRECISIONS = ("fp32", "int8")


def made(data: Path, runs: Path, method: str, seed: int) -> tuple[Path, str]:
    """The run with an INT8 engine, and why it has none where its gate refuses it."""
    name, values = split_method(method)
    run = runs / run_name(data.name, method, seed)
    given = [part for key, value in values.items() for part in ("--parameter", f"{key}={value}")]
    if not (run / "run.json").is_file():
        edge_ad(["train", name, "--data", data, "--runs", runs, "--name", run.name, "--seed", str(seed), *given])
    elif not (run / "checkpoint.safetensors").is_file():
        edge_ad(["train", "--resume", run])
    try:
        edge_ad(["build-engine", run, "--precision", "int8"])
    except subprocess.CalledProcessError as error:
        return run, next(line for line in error.stderr.splitlines() if line.startswith("error:"))
    return run, ""


def row(data: Path, runs: Path, method: str, seed: int) -> dict[str, Any]:
    """One row; only what the gate lets through is measured."""
    run, refused = made(data, runs, method, seed)
    found: dict[str, Any] = {"product": data.name, "method": method, "seed": seed}
    if refused:
        return found | {"fp32": metrics_of(run, data, "fp32"), "refused": refused}
    gate = Bundle.open(run / "bundle").graph("int8").gate
    layers = {} if gate is None else {"int8_layers": gate.quantised_layers, "returned": len(gate.float_layers)}
    return found | {name: metrics_of(run, data, name) for name in _PRECISIONS} | layers


def measure_cell(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """The row of a cell."""
    return row(Path(arguments["data"]), Path(arguments["runs"]), arguments["method"], arguments["seed"])


def cells_of(chosen: argparse.Namespace) -> list[Cell]:
    """A cell for each row that is asked for."""
    return [
        row_cell(
            "benchmarks.flow_table:measure_cell",
            {"product": data.resolve().name, "method": method, "seed": seed},
            data=str(data.resolve()),
            runs=str(chosen.runs.resolve()),
        )
        for data, seed, method in product(chosen.data, chosen.seeds, chosen.methods)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("flow_table.jsonl"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    add_cell_options(parser)
    chosen = parser.parse_args(arguments)
    return 1 if measure_missing(cells_of(chosen), _KEY, chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
