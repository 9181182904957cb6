"""Detectors on patch features × products × seeds, with the ablations of their papers.

    python -m benchmarks.discriminator_table --data FOLDER... --out results.jsonl [--size 256] [--seeds 0 1 2]
    python -m benchmarks.discriminator_table --data FOLDER --methods pbas:centre=average,refine=false --share 0.2
    python -m benchmarks.discriminator_table --ablation pbas --data FOLDER
    python -m benchmarks.discriminator_table --show results.jsonl

A method is written ``name`` or ``name:parameter=value,parameter=value``. Every image goes through the backbone once for
all methods. ``held_out`` is the image AUROC of held-out good images against pseudo-defects, ``unseen`` the same with
scars, scratches and smears alone: the only columns that a default may be chosen by, and for a method that learns from
pseudo-defects ``unseen`` alone, with ``kinds=perlin,cutpaste,blur``. ``seconds`` is fitting and training on cached
features. Rows that the file has already are not measured again; ``--show`` prints the mean and the standard deviation
over seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.suites.accuracy_suite import split_method
from edge_ad.data.products import Product, open_product
from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
from edge_ad.data.splits import GoodSplit, split_good
from edge_ad.data.views import with_views
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.metrics import image_auroc
from edge_ad.images import read_resized
from edge_ad.models import create_detector
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.prediction import Prediction
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.loop import LoopSettings, run_stages
from edge_ad.training.precision import choose_device
from edge_ad.training.preparation import fit_photos, fit_to_images

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
_OF_FEATURES = ("backbone", "weights", "levels", "neighbourhood", "embedding")
_DRAWS = 4
_BATCH = 8


class Memory:
    """Features of images that were seen before, by backbone, its weights, and how patches are made of it.

    Args:
        device: Where features are computed.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._features: dict[str, Tensor] = {}

    def of(self, detector: FeatureDetector, images: NDArray[np.uint8]) -> Tensor:
        """Features (N, C, h, w) of uint8 images (N, H, W, 3)."""
        kind = _identity(detector)
        keys = [kind + hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest() for image in images]
        missing = [index for index, key in enumerate(keys) if key not in self._features]
        backbone = detector.backbone
        assert isinstance(backbone, nn.Module)
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            computed = compute_features(backbone.to(self._device), images[part], self._device)
            for index, features in zip(part, computed, strict=True):
                self._features[keys[index]] = features.half()  # half the memory; kept alike for every method
        return torch.stack([self._features[key] for key in keys]).float()


def _identity(detector: FeatureDetector) -> str:
    """The same for detectors whose features are the same."""
    backbone = detector.backbone
    assert isinstance(backbone, nn.Module)
    digest = hashlib.sha256(repr(backbone).encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    config = detector.config.model_dump()
    digest.update(repr([config.get(name) for name in _OF_FEATURES]).encode())
    return digest.hexdigest()


def measure(product: Product, split: GoodSplit, method: str, values: dict[str, Any], memory: Memory) -> dict[str, Any]:
    """Fit, train and measure one detector; returns the row's figures."""
    detector = create_detector(method, values)
    assert isinstance(detector, FeatureDetector)
    size_hw = detector.config.size_hw
    fit, held_out = (read_resized(part, size_hw) for part in (split.fit, split.calibrate))
    fit_photos(detector, fit)
    memory.of(
        detector, with_views(fit, detector.views, seed=detector.config.seed)
    )  # the backbone's time is not the method's
    memory.of(detector, held_out)
    began = time.monotonic()
    data = fit_to_images(detector, fit, held_out, lambda images: memory.of(detector, images))
    device = choose_device("auto")
    settings = LoopSettings(seed=detector.config.seed, device=device, batch_size=_BATCH)
    run_stages(detector.to(device), data, settings, lambda report: None)
    detector.cpu()
    seconds = time.monotonic() - began
    predict = _predictor(detector.eval(), memory)
    result = evaluate(predict, product, size_hw)
    figures = {name: round(value, 4) for name, value in result.metrics.items()}
    for column, kinds in (("held_out", tuple(KINDS)), ("unseen", UNSEEN)):
        figures[column] = round(_separation(predict, held_out, detector.config.seed, kinds), 4)
    return {**figures, "seconds": round(seconds, 1)}


def _predictor(detector: FeatureDetector, memory: Memory) -> Callable[[NDArray[np.uint8]], list[Prediction]]:
    @torch.inference_mode()
    def predict(images: NDArray[np.uint8]) -> list[Prediction]:
        scores, maps = detector.score_features(memory.of(detector, images))
        return [Prediction(float(score), item[0].numpy()) for score, item in zip(scores, maps, strict=True)]

    return predict


def _separation(
    predict: Callable[[NDArray[np.uint8]], list[Prediction]], good: NDArray[np.uint8], seed: int, kinds: Sequence[str]
) -> float:
    """As ``edge_ad.training.held_out_defects.separation``, on remembered features."""
    groups = [good, *(PseudoDefects(seed + draw, kinds=kinds).apply(good)[0] for draw in range(_DRAWS))]
    scores = [prediction.score for images in groups for prediction in predict(images)]
    return image_auroc(np.arange(len(scores)) >= len(good), np.asarray(scores))


def rows(arguments: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Measure what is not done, one row at a time."""
    for root in arguments.data:
        product, memory = open_product(root), Memory(choose_device("auto"))
        for seed in arguments.seeds:
            split = split_good(product.good, seed=seed)
            split = dataclasses.replace(split, fit=split.fit[: math.ceil(arguments.share * len(split.fit))])
            for method in arguments.methods:
                row = {"product": product.name, "size": arguments.size, "seed": seed, "share": arguments.share}
                row["method"] = method
                if tuple(row[name] for name in _KEY) not in done:
                    name, values = split_method(method)
                    yield row | measure(product, split, name, {"size": arguments.size, "seed": seed, **values}, memory)


def recorded(path: Path) -> list[dict[str, Any]]:
    """Rows of a results file; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def show(path: Path) -> None:
    """Print recorded rows as Markdown, mean ± standard deviation over seeds."""
    groups: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in recorded(path):
        groups[row["product"], row["size"], row["share"], row["method"]].append(row)
    print(f"| product | size | share | method | seeds | {' | '.join(COLUMNS)} |")
    print("|" + "---|" * (5 + len(COLUMNS)))
    for key, group in groups.items():
        cells = [_cell([row[name] for row in group], 1 if name == "seconds" else 3) for name in COLUMNS]
        print(f"| {' | '.join(map(str, key))} | {len(group)} | {' | '.join(cells)} |")


def _cell(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def main(arguments: list[str] | None = None) -> None:
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
    chosen = parser.parse_args(arguments)
    if chosen.show is not None:
        show(chosen.show)
        return
    if chosen.data is None:
        parser.error("--data FOLDER is needed")
    if chosen.ablation is not None:
        chosen.methods = list(ABLATIONS[chosen.ablation])
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    done = {tuple(row[name] for name in _KEY) for row in recorded(chosen.out)}
    for row in rows(chosen, done):
        with chosen.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


if __name__ == "__main__":
    main()
