"""Detectors on patch features × products × seeds, with the ablations of their papers.

    python -m benchmarks.discriminator_table --data FOLDER... --out results.jsonl [--size 256] [--seeds 0 1 2]
    python -m benchmarks.discriminator_table --data FOLDER --methods pbas:centre=average,refine=false --share 0.2
    python -m benchmarks.discriminator_table --ablation pbas --data FOLDER
    python -m benchmarks.discriminator_table --show results.jsonl

A method is written ``name`` or ``name:parameter=value,parameter=value``. Each row is a cell of a sweep; features come
from the cache, so every image goes through the backbone once for all methods. ``held_out`` is the image AUROC of
held-out good images against pseudo-defects, ``unseen`` the same with scars, scratches and smears alone: the only
columns that a default may be chosen by, and for a method that learns from pseudo-defects ``unseen`` alone, with
``kinds=perlin,cutpaste,blur``. ``seconds`` is fitting and training on cached features. Rows that the file has already
are not measured again; ``--show`` prints the mean and the standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.suites.accuracy_suite import split_method
from benchmarks.suites.record import read_lines
from benchmarks.suites.row_cells import add_cell_options, measure_missing, row_cell
from edge_ad.data.products import open_product
from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
from edge_ad.data.samples import Product
from edge_ad.data.splits import GoodSplit, split_good
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.metrics import image_auroc
from edge_ad.images import read_resized
from edge_ad.models import create_detector
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.prediction import Prediction
from edge_ad.sweeps.cells import Cell, Told
from edge_ad.training.feature_cache import cached_features
from edge_ad.training.loop import LoopSettings, run_stages
from edge_ad.training.precision import choose_device
from edge_ad.training.preparation import fit_photos, fit_to_images, fitted_views

METHODS = ("patch-gaussian", "patch-nearest", "patch-metric", "simplenet", "pbas", "boundary-shuffling")
UNSEEN = ("scar", "scratch", "smear")
COLUMNS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pro", "held_out", "unseen", "seconds")
ABLATIONS = {
    "pbas": (
        *(f"pbas:refine=false,centre={centre}" for centre in ("average", "iterative", "clustering", "aligned")),
        *(f"pbas:centre={centre}" for centre in ("average", "iterative", "clustering", "aligned")),
        "pbas:synthesis=gaussian",
        "pbas:compactness_weight=0",
        *(f"pbas:degree={degree}" for degree in (0.1, 0.2, 0.5, 1.0)),
    ),
    "boundary-shuffling": (
        "boundary-shuffling",
        "boundary-shuffling:adaptive=false",
        "boundary-shuffling:nudge_weight=0",
        "boundary-shuffling:step=0",
        "boundary-shuffling:shuffle_weight=0",
        "boundary-shuffling:candidates=1",
        "boundary-shuffling:compactness_weight=0",
        "boundary-shuffling:contrast_weight=0",
        "boundary-shuffling:radius_weight=0",
    ),
}
_KEY = ("product", "size", "seed", "share", "method")
_DRAWS = 4
_BATCH = 8


def features_of(detector: FeatureDetector, images: NDArray[np.uint8]) -> Tensor:
    """Features (N, C, h, w) of uint8 images (N, H, W, 3), from the cache where another row has seen them."""
    backbone, device = detector.backbone, choose_device("auto")
    assert isinstance(backbone, nn.Module)
    features = cached_features(backbone.to(device), images, device)
    return features.half().float()  # as the recorded rows have them


def measure(product: Product, split: GoodSplit, method: str, values: dict[str, Any]) -> dict[str, Any]:
    """Fit, train and measure one detector; returns the row's figures."""
    detector = create_detector(method, values)
    assert isinstance(detector, FeatureDetector)
    size_hw = detector.config.size_hw
    fit, held_out = (read_resized(part, size_hw) for part in (split.fit, split.calibrate))
    fit_photos(detector, fit)
    for photos in (fitted_views(detector, fit), held_out):
        features_of(detector, photos)  # the backbone's time is not the method's
    began = time.monotonic()
    data = fit_to_images(detector, fit, held_out, lambda images: features_of(detector, images))
    device = choose_device("auto")
    settings = LoopSettings(seed=detector.config.seed, device=device, batch_size=_BATCH)
    run_stages(detector.to(device), data, settings, lambda report: None)
    detector.cpu()
    seconds = time.monotonic() - began
    predict = _predictor(detector.eval())
    result = evaluate(predict, product, size_hw)
    figures = {name: round(value, 4) for name, value in result.metrics.items()}
    for column, kinds in (("held_out", tuple(KINDS)), ("unseen", UNSEEN)):
        figures[column] = round(_separation(predict, held_out, detector.config.seed, kinds), 4)
    return {**figures, "seconds": round(seconds, 1)}


def _predictor(detector: FeatureDetector) -> Callable[[NDArray[np.uint8]], list[Prediction]]:
    @torch.inference_mode()
    def predict(images: NDArray[np.uint8]) -> list[Prediction]:
        scores, maps = detector.score_features(features_of(detector, images))
        return [Prediction(float(score), item[0].numpy()) for score, item in zip(scores, maps, strict=True)]

    return predict


def _separation(
    predict: Callable[[NDArray[np.uint8]], list[Prediction]], good: NDArray[np.uint8], seed: int, kinds: Sequence[str]
) -> float:
    """As ``edge_ad.training.held_out_defects.separation``, on remembered features."""
    groups = [good, *(PseudoDefects(seed + draw, kinds=kinds).apply(good)[0] for draw in range(_DRAWS))]
    scores = [prediction.score for images in groups for prediction in predict(images)]
    return image_auroc(np.arange(len(scores)) >= len(good), np.asarray(scores))


def measure_cell(arguments: Mapping[str, Any], folder: Path, told: Told) -> dict[str, Any]:
    """The row of a cell: its labels and figures."""
    product, seed, size = open_product(Path(arguments["data"])), arguments["seed"], arguments["size"]
    split = split_good(product.good, seed=seed)
    split = dataclasses.replace(split, fit=split.fit[: math.ceil(arguments["share"] * len(split.fit))])
    name, values = split_method(arguments["method"])
    figures = measure(product, split, name, {"size": size, "seed": seed, **values})
    return {each: arguments[each] for each in _KEY} | figures


def cells_of(chosen: argparse.Namespace) -> list[Cell]:
    """A cell for each row that is asked for, those of the same photos one after the other."""
    common = {"size": chosen.size, "share": chosen.share}
    return [
        row_cell(
            "benchmarks.discriminator_table:measure_cell",
            {"product": data.resolve().name, "seed": seed, "method": method, **common},
            data=str(data.resolve()),
        )
        for data in chosen.data
        for seed in chosen.seeds
        for method in chosen.methods
    ]


def show(path: Path) -> None:
    """Print recorded rows as Markdown, mean ± standard deviation over seeds."""
    groups: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in read_lines(path):
        groups[row["product"], row["size"], row["share"], row["method"]].append(row)
    print(f"| product | size | share | method | seeds | {' | '.join(COLUMNS)} |")
    print("|" + "---|" * (5 + len(COLUMNS)))
    for key, group in groups.items():
        cells = [_cell([row[name] for row in group], 1 if name == "seconds" else 3) for name in COLUMNS]
        print(f"| {' | '.join(map(str, key))} | {len(group)} | {' | '.join(cells)} |")


def _cell(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows that are asked for, or print recorded ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("discriminator_table.jsonl"))
    parser.add_argument("--show", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--share", type=float, default=1.0, help="share of the fitting images; PBAS, table VII")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--ablation", choices=sorted(ABLATIONS), help="the methods of a paper's ablation")
    add_cell_options(parser)
    chosen = parser.parse_args(arguments)
    if chosen.show is not None:
        show(chosen.show)
        return 0
    if chosen.data is None:
        parser.error("--data FOLDER is needed")
    if chosen.ablation is not None:
        chosen.methods = list(ABLATIONS[chosen.ablation])
    return 1 if measure_missing(cells_of(chosen), _KEY, chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
