"""Detectors on patch features after INT8: the engine's figures against FP32's, and its latency against eager torch.

    python -m benchmarks.discriminator_int8 --data FOLDER... --runs FOLDER --out int8.jsonl [--seeds 0 1 2]
        [--precision int8-bf16]
    python -m benchmarks.discriminator_int8 --latency --data FOLDER --runs FOLDER --out latency.jsonl [--methods fader]
        [--passes 3]

The first trains what is missing under ``--runs/<product>/<method>-<seed>``, builds its engine and evaluates both graphs
of the bundle on the test images, with the commands that users have; ``--parameter`` goes to ``edge-ad train``. A build
whose gate refuses the precision is a row without figures that says so. The second measures ``edge-ad benchmark
--against torch`` of runs that are there: engine and eager FP32 torch in turns. Each pass goes through all of them, so
that a shared machine is met in several of its moods.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from edge_ad.data.products import open_product
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.training.predictor import open_predictor

METHODS = ("patch-gaussian", "patch-metric", "simplenet", "pbas", "boundary-shuffling")
METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")


def edge_ad(arguments: Sequence[str | Path]) -> str:
    """Standard output of a command of edge-ad.

    Raises:
        subprocess.CalledProcessError: It failed; ``stderr`` has the line that says why.
    """
    command = [sys.executable, "-m", "edge_ad", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def accuracy(
    data: Path, run: Path, method: str, seed: int, precision: str, parameters: Sequence[str]
) -> dict[str, Any]:
    """Train, build and evaluate; what is there already is not made again."""
    row: dict[str, Any] = {"product": data.name, "method": method, "seed": seed, "precision": precision}
    if not (run / "checkpoint.safetensors").is_file():
        given = [part for item in parameters for part in ("--parameter", item)]
        edge_ad(
            ["train", method, "--data", data, "--runs", run.parent, "--name", run.name, "--seed", str(seed), *given]
        )
    try:
        edge_ad(["build-engine", run, "--precision", precision])
    except subprocess.CalledProcessError as error:
        return row | {"refused": error.stderr.strip().splitlines()[-1]}
    for name in ("fp32", precision):
        row[name] = metrics_of(run, data, name)
    return row


def metrics_of(run: Path, data: Path, precision: str) -> dict[str, float]:
    """Metrics of an engine of the run's bundle on all test images of a product.

    Test photos of a shape that no training photo has are judged all the same: they belong to the product's test.
    """
    with open_predictor(run / "bundle", backend="auto", precision=precision, threads=1) as predictor:
        photos = predictor.photos.model_copy(update={"aspect_ratios": None})
        found = evaluate(predictor.predict, open_product(data), predictor.size_hw, batch=1, photos=photos)
    return {name: round(found.metrics[name], 5) for name in METRICS}


def latency(data: Path, run: Path, method: str, precision: str, seconds: float) -> dict[str, Any]:
    """End to end, a decoded photo to its verdict, batch 1, against eager FP32 torch."""
    options: list[str | Path] = ["--data", data, "--precision", precision, "--threads", "2", "--seconds", str(seconds)]
    measured = json.loads(edge_ad(["benchmark", run / "bundle", "--against", "torch", "--json", *options]))
    taken, compared = measured["measurements"], measured["measurements"]["comparison"]
    return {
        "product": data.name,
        "method": method,
        "precision": precision,
        "engine": measured["engine"]["source"],
        "engine_ms": round(taken["engine"]["p50_ms"], 2),
        "end_to_end_ms": round(compared["ours"]["p50_ms"], 2),
        "torch_ms": round(compared["theirs"]["p50_ms"], 2),
        "ratio": round(compared["ratio_of_medians"], 2),
        "ratio_per_round": [round(ratio, 2) for ratio in compared["ratio_per_round"]],
    }


def main(arguments: list[str] | None = None) -> None:
    """Append one line of JSON for each row that is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--parameter", action="append", default=[], help="NAME=VALUE for the training")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--precision", default="int8", help="of the engine")
    parser.add_argument("--passes", type=int, default=1, help="of --latency")
    parser.add_argument("--seconds", type=float, default=5.0, help="of --latency, for each measurement")
    chosen = parser.parse_args(arguments)
    lines = chosen.out.read_text().splitlines() if chosen.out.is_file() else []
    done = {_key(json.loads(line)) for line in lines}
    for row in _rows(chosen, done):
        with chosen.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["product"], row["method"], row.get("seed"), row.get("precision", "int8"), row.get("pass")


def _rows(chosen: argparse.Namespace, done: set[tuple[Any, ...]]) -> Any:
    seeds = chosen.seeds if not chosen.latency else range(chosen.passes)
    for data, number, method in product(chosen.data, seeds, chosen.methods):
        if chosen.latency and (data.name, method, None, chosen.precision, number) not in done:
            run = chosen.runs / data.name / f"{method}-{chosen.seeds[0]}"
            yield latency(data, run, method, chosen.precision, chosen.seconds) | {"pass": number}
        elif not chosen.latency and (data.name, method, number, chosen.precision, None) not in done:
            run = chosen.runs / data.name / f"{method}-{number}"
            yield accuracy(data, run, method, number, chosen.precision, chosen.parameter)


if __name__ == "__main__":
    main()
