"""What the feature cache saves: an epoch on cached features against the same epoch with the backbone in the loop.

    python -m benchmarks.cached_training [--data FOLDER] [--images 80] [--size 256] [--rounds 5] [--processes 1]
                                         [--methods pbas ...]

Both trainings see the same batches in the same order from the same start; in the loop, the backbone and the
standardisation run for every batch. They have two epochs, of which the second is timed. ``ratio`` is the median over
the rounds of the time in the loop over the time on cached features, measured in turn. ``difference`` is the largest
one between the weights that the two trainings left, over the largest weight. Without --data a rendered product is
used: the time does not depend on what the images show.

Every row is measured in processes of its own, as what a process has allocated before changes how long the next
allocation takes; of several ``processes`` the row has the medians, and ``lowest`` and ``highest`` of their ratios.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_ad.data.products import open_product
from edge_ad.data.sample_product import render_product
from edge_ad.images import read_resized
from edge_ad.models import create_detector
from edge_ad.models.discriminators.standardisation import CrossFit
from edge_ad.models.feature_detector import FeatureDetector
from edge_ad.models.patch_metric import PatchMetricParameters
from edge_ad.training.feature_cache import compute_features, to_tensor
from edge_ad.training.loop import LoopSettings, TrainingSet, run_stages
from edge_ad.training.preparation import fit_to_images

METHODS = ("patch-metric", "simplenet", "pbas", "boundary-shuffling")
_BATCH = 8
# Two epochs of the discriminator: what is timed is the last, without what a training does only once.
_SHORT: tuple[dict[str, Any], dict[str, Any]] = ({"metric_steps": 1, "epochs": 2}, {"epochs": 2})


class Measurement(TypedDict):
    """What one process found: medians over its rounds, and the largest relative difference of a weight."""

    loop_seconds: float
    cached_seconds: float
    ratio: float
    difference: float


@dataclass(frozen=True, kw_only=True)
class InTheLoop(TrainingSet):
    """A training set that computes the features of its images whenever a batch asks; ``frozen`` gives their shape.

    Attributes:
        backbone: The frozen network.
        cross_fit: What standardises its features.
    """

    backbone: nn.Module
    cross_fit: CrossFit

    @torch.no_grad()
    def frozen_of(self, chosen: Tensor, room: Tensor) -> Tensor:
        """Standardised features (n, P, C) of the images that are named."""
        features = self.backbone(to_tensor(self.images[chosen.numpy()]))
        return self.cross_fit(features.contiguous(), chosen)


def measure(
    method: str, images: NDArray[np.uint8], values: dict[str, Any], rounds: int, threads: int = 2
) -> Measurement:
    """Train two epochs both ways, in turn; the times are those of the last."""
    torch.set_num_threads(threads)
    plain = PatchMetricParameters.absent  # in the loop, an image is seen as it is
    detector = create_detector(method, {**plain, **_SHORT[method == "patch-metric"], **values})
    assert isinstance(detector, FeatureDetector)
    backbone = detector.backbone
    assert isinstance(backbone, nn.Module)
    held_out = images[:2]
    cached = fit_to_images(detector, images, held_out, lambda batch: compute_features(backbone, batch))
    standardisation: Any = getattr(detector, "head", detector).standardisation
    cross_fit = CrossFit(standardisation, compute_features(backbone, images))
    live = InTheLoop(images, cached.frozen, backbone=backbone, cross_fit=cross_fit)
    seconds: dict[str, list[float]] = {"cached": [], "loop": []}
    weights = {}
    for _ in range(rounds):
        for name, data in (("loop", live), ("cached", cached)):
            weights[name] = _train(copy.deepcopy(detector), data, seconds[name])
    ratios = [loop / fast for loop, fast in zip(seconds["loop"], seconds["cached"], strict=True)]
    return {
        "loop_seconds": statistics.median(seconds["loop"]),
        "cached_seconds": statistics.median(seconds["cached"]),
        "ratio": statistics.median(ratios),
        "difference": _difference(weights["loop"], weights["cached"]),
    }


def summarise(method: str, images: int, measured: Sequence[Measurement]) -> dict[str, Any]:
    """The row of a method: medians over processes, and how far their ratios lie apart."""
    median = {name: statistics.median(one[name] for one in measured) for name in ("loop_seconds", "cached_seconds")}
    ratios = [one["ratio"] for one in measured]
    return {
        "method": method,
        "images": images,
        "loop_seconds": round(median["loop_seconds"], 3),
        "cached_seconds": round(median["cached_seconds"], 4),
        "ratio": round(statistics.median(ratios), 1),
        "lowest": round(min(ratios), 1),
        "highest": round(max(ratios), 1),
        "processes": len(measured),
        "difference": max(one["difference"] for one in measured),
    }


def _train(detector: FeatureDetector, data: TrainingSet, seconds: list[float]) -> dict[str, Tensor]:
    """Train; appends the time of the last epoch."""
    settings = LoopSettings(seed=0, device=torch.device("cpu"), batch_size=_BATCH)
    epochs: list[float] = []
    run_stages(detector, data, settings, lambda report: epochs.append(report.seconds))
    seconds.append(epochs[-1])
    return {name: value.clone() for name, value in detector.state_dict().items()}


def _difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    pairs = [(value.double(), other[name].double()) for name, value in one.items() if value.is_floating_point()]
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) for a, b in pairs)


def main(arguments: list[str] | None = None) -> None:
    """Print a line of JSON for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        images = _images(chosen.data, Path(folder), chosen.images, chosen.size)
    for method in chosen.methods:
        work = (method, images, {"size": chosen.size}, chosen.rounds, chosen.threads)
        measured = [_in_a_process_of_its_own(work) for _ in range(chosen.processes)]
        print(json.dumps(summarise(method, len(images), measured)), flush=True)


def _in_a_process_of_its_own(work: tuple[Any, ...]) -> Measurement:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *work).result()


def _images(data: Path | None, folder: Path, count: int, size: int) -> NDArray[np.uint8]:
    good = (
        open_product(data).good if data is not None else render_product(folder, good=count, size_hw=(size, size)).good
    )
    return read_resized(good[:count], (size, size))


if __name__ == "__main__":
    main()
