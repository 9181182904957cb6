"""SuperSimpleNet with no, 5 and 10 labelled defects, beside the patch Gaussian, on the same test photos.

    python -m benchmarks.labelled_table --data FOLDER... --runs FOLDER --out labelled_table.jsonl [--seeds 0]
    python -m benchmarks.labelled_table --data FOLDER... --runs FOLDER --out FILE --int8

Ten defective photos of a product's test are drawn by seed, type by type in turn. They are left out of the evaluation of
every row, whether it learned from none, five or all of them. ``10 places unknown`` learns from the ten without their
masks. Runs are trained by the command that users have; what is under ``--runs`` already is not trained again. Rows that
the file has are not measured again. With ``--int8`` the engine of each finished run with ten labelled defects is built
and measured instead. Afterwards: ``python -m benchmarks.labelled_markdown``.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.discriminator_int8 import edge_ad
from benchmarks.suites.record import append_row, read_lines
from edge_ad.data.products import open_product
from edge_ad.data.samples import Product, Sample
from edge_ad.data.splits import content_hash
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.metrics import average_precision, image_auroc
from edge_ad.training.predictor import open_predictor
from edge_ad.training.runs import load_run, torch_predictor

METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
DRAWN = 10
COLUMNS: dict[str, tuple[str, int, bool]] = {
    "patch-gaussian": ("patch-gaussian", 0, True),
    "none": ("supersimplenet", 0, True),
    "5": ("supersimplenet", 5, True),
    "10": ("supersimplenet", DRAWN, True),
    "10 places unknown": ("supersimplenet", DRAWN, False),
}
"""Name of a row → method, how many labelled defects, and whether their masks are given."""


def drawn_defects(product: Product, seed: int) -> list[Sample]:
    """Ten defective test photos, type by type in turn, so that the first five hold as many types as can be."""
    by_type: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in product.test:
        if sample.is_defective and sample.mask_path is not None:
            by_type[sample.defect_type].append(sample)
    draw, drawn = random.Random(seed), list[Sample]()
    for samples in by_type.values():
        draw.shuffle(samples)
    while len(drawn) < DRAWN and any(by_type.values()):
        drawn += [samples.pop() for samples in by_type.values() if samples]
    return drawn[:DRAWN]


def labelled_folder(folder: Path, samples: list[Sample], *, with_masks: bool) -> Path:
    """A folder to give to ``--labelled-defects``: photos by type, each with its mask beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    for sample in samples:
        inner = folder / sample.defect_type
        inner.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample.path, inner)
        for mask in sample.masks if with_masks else ():
            shutil.copy(mask, inner / f"{sample.path.stem}_mask{mask.suffix}")
    return folder


def trained(data: Path, runs: Path, column: str, seed: int, drawn: list[Sample]) -> Path:
    """The run of a row."""
    method, count, with_masks = COLUMNS[column]
    run = runs / f"{data.name}-{column.replace(' ', '-')}-{seed}"
    if (run / "checkpoint.safetensors").is_file():
        return run
    shutil.rmtree(run, ignore_errors=True)
    given: list[str | Path] = ["--data", data, "--runs", runs, "--name", run.name, "--seed", str(seed)]
    if count:
        folder = runs / "labelled" / run.name
        given += ["--labelled-defects", labelled_folder(folder, drawn[:count], with_masks=with_masks)]
    edge_ad(["train", method, *given, "--no-check-photos"])
    return run


def measured(run_folder: Path, product: Product) -> dict[str, Any]:
    """Metrics of a run in torch; of SuperSimpleNet also those of the classification head's score."""
    run = load_run(run_folder)
    detector = run.detector
    size_hw, photos = detector.config.size_hw, run.split.photos.model_copy(update={"aspect_ratios": None})
    if run.method == "supersimplenet":
        detector.config = detector.config.model_copy(update={"classifier_score": False})
    found = evaluate(torch_predictor(detector), product, size_hw, photos=photos)
    row: dict[str, Any] = {name: found.metrics[name] for name in METRICS}
    if run.method == "supersimplenet":
        detector.config = detector.config.model_copy(update={"classifier_score": True})
        other = evaluate(torch_predictor(detector), product, size_hw, photos=photos)
        row["classifier_auroc"] = image_auroc(other.labels, other.scores)
        row["classifier_ap"] = average_precision(other.labels, other.scores)
    return row


def measured_int8(run: Path, product: Product) -> dict[str, Any]:
    """Metrics of the engines of a run's bundle, or why its gate refuses INT8."""
    try:
        edge_ad(["build-engine", run, "--precision", "int8"])
    except subprocess.CalledProcessError as error:
        return {"refused": next(line for line in error.stderr.splitlines() if line.startswith("error:"))}
    row: dict[str, Any] = {}
    for precision in ("fp32", "int8"):
        with open_predictor(run / "bundle", backend="auto", precision=precision, threads=1) as predictor:
            photos = predictor.photos.model_copy(update={"aspect_ratios": None})
            found = evaluate(predictor.predict, product, predictor.size_hw, batch=1, photos=photos)
        row[precision] = {name: found.metrics[name] for name in METRICS}
    return row


def rows(chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What the file does not have yet."""
    done = {(row["product"], row["seed"], row["labelled"]) for row in read_lines(chosen.out)}
    for data in chosen.data:
        for seed in chosen.seeds:
            whole = open_product(data)
            drawn = drawn_defects(whole, seed)
            learned = frozenset(content_hash(sample.path) for sample in drawn)
            product = open_product(data, part="test", learned_defects=learned)
            for column in ("10",) if chosen.int8 else COLUMNS:
                if (data.name, seed, column) not in done:
                    run = trained(data, chosen.runs, column, seed, drawn)
                    row = {"product": data.name, "seed": seed, "labelled": column, "tested": len(product.test)}
                    yield row | (measured_int8(run, product) if chosen.int8 else measured(run, product))


def main(arguments: list[str] | None = None) -> None:
    """Measure and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--int8", action="store_true")
    chosen = parser.parse_args(arguments)
    for row in rows(chosen):
        append_row(chosen.out, row)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
