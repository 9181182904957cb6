"""A sweep of 4 products x 5 methods x 3 seeds on local workers and on SLURM, with a worker and a controller killed.

    python -m benchmarks.sweep_acceptance --work DIR --out sweep_acceptance.jsonl [--clusters local slurm]

Products are rendered and small. On each cluster the command of users runs with two workers. When a sixth of the cells
has results, the process of one cell is killed by SIGKILL; at a third, the command itself; then the same command is
given again. A row says how long it took, how many cells ran twice, and the SHA-256 of ``results.jsonl``, which must be
the same for all rows. SLURM is the one that ``sbatch`` reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.suites.record import append_row, now
from edge_ad.data.sample_product import render_product
from edge_ad.storage import is_taken, sha256_file
from edge_ad.sweeps.cell_folder import CellFolder

METHODS = (
    {"method": "patch-gaussian"},
    {"method": "patch-metric"},
    {"method": "patch-nearest", "parameters": {"bank": 50}},
    {"method": "simplenet", "parameters": {"epochs": 1, "hidden": 16}},
    {"method": "pbas", "parameters": {"epochs": 1, "hidden": 16}},
)
PRODUCTS, SEEDS, WORKERS = 4, (0, 1, 2), 2
CELLS = PRODUCTS * len(METHODS) * len(SEEDS)
_LOOK_S = 0.2


def sweep_file(work: Path, *, size: int = 64, good: int = 10) -> Path:
    """Render what is missing, and write the file of the sweep.

    Args:
        work: Folder of both.
        size: Side of photos and of the network's input, in pixels.
        good: Photos of good parts of each product.
    """
    products = [work / "products" / f"part-{index}" for index in range(PRODUCTS)]
    for index, product in enumerate(products):
        if not product.is_dir():
            render_product(product, good=good, test_good=2, defects_per_kind=1, size_hw=(size, size), seed=index)
    content: dict[str, object] = {"out": "out", "products": [str(product) for product in products]}
    content |= {"methods": list(METHODS), "seeds": list(SEEDS), "parameters": {"size": size}}
    content |= {"run": {"workers": WORKERS}, "keep_runs": False}
    path = work / "sweep.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def row(path: Path, cluster: str, out: Path) -> dict[str, Any]:
    """Run the sweep with both kills; returns the row."""
    command = [sys.executable, "-m", "edge_ad", "sweep", str(path), "--cluster", cluster, "--out", str(out)]
    began = time.monotonic()
    first = subprocess.Popen(command)
    _wait(first, out, CELLS // 6)
    while not (killed := next(_workers(out), 0)) and first.poll() is None:
        time.sleep(_LOOK_S)
    if killed:
        os.kill(killed, signal.SIGKILL)
    _wait(first, out, CELLS // 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    at_kill = _results(out)
    subprocess.run(command, check=True)
    seconds = time.monotonic() - began
    costs = [json.loads(line) for line in (out / "costs.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "kind": "sweep_acceptance",
        "recorded": now(),
        "cluster": cluster,
        "cells": _results(out),
        "failed": (out / "failures.jsonl").exists(),
        "worker_killed": bool(killed),
        "results_when_the_controller_was_killed": at_kill,
        "seconds": round(seconds, 1),
        "cell_seconds": round(sum(cost["seconds"] for cost in costs), 1),
        "processes": sum(len(list(out.glob(f"cells/*/job/{name}"))) for name in ("*.log", "*_submitted.pkl")),
        "sha256": sha256_file(out / "results.jsonl"),
    }


def _wait(process: subprocess.Popen[bytes], out: Path, results: int) -> None:
    while _results(out) < results and process.poll() is None:
        time.sleep(_LOOK_S)


def _results(out: Path) -> int:
    path = out / "results.jsonl"
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def _workers(out: Path) -> Iterator[int]:
    """Processes that run a cell below a folder."""
    for path in out.glob("cells/*"):
        if is_taken(path) and (holder := CellFolder(path).holder()) is not None:
            yield holder.process


def main() -> int:
    """Run, append the rows, and say whether all results are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder, seen by all nodes")
    parser.add_argument("--out", type=Path, default=Path("sweep_acceptance.jsonl"))
    parser.add_argument("--clusters", nargs="+", default=["local", "slurm"], choices=["local", "slurm"])
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    path, found = sweep_file(work), []
    for cluster in chosen.clusters:
        found.append(row(path, cluster, work / cluster))
        append_row(chosen.out, found[-1])
        print(json.dumps(found[-1]), flush=True)
    return 0 if len({each["sha256"] for each in found}) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
