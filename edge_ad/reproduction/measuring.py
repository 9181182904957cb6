"""Measure a finished run on a category's test photos: exactly, by the papers' protocol, and on shifted photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import open_product
from edge_ad.data.samples import Product
from edge_ad.data.shift_kinds import parse_shifts
from edge_ad.evaluation.evaluate import evaluate
from edge_ad.evaluation.paper_protocol import paper_metrics
from edge_ad.evaluation.shift import measure_shift
from edge_ad.photo_spec import PhotoSpec
from edge_ad.prediction import Prediction
from edge_ad.training.precision import choose_device
from edge_ad.training.runs import load_run, torch_predictor

__all__ = ["SEVERITY", "measure_run"]

SEVERITY = 3
"""Of the shifts in the papers."""

_FAMILY = "imagenet-c/"

Progress = Callable[[int, int], None]
Predict = Callable[[NDArray[np.uint8]], list[Prediction]]


def measure_run(
    run: Path, folder: Path, *, shifts: Sequence[str] = (), device: str = "auto", progress: Progress | None = None
) -> dict[str, dict[str, float]]:
    """Measure a run.

    Args:
        run: Folder of the finished run.
        folder: Folder of the category.
        shifts: Kinds of shift to measure on as well, at `SEVERITY`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: Told after every batch.

    Returns:
        ``exact`` and ``paper`` → metric → value; ``image_auroc@KIND`` for each shift is in both.

    Raises:
        DataError: The test photos cannot be used.
    """
    opened, found_on = load_run(run), choose_device(device)
    # A benchmark's good photos may miss a shape or a size that its test photos have: all of them count.
    photos = opened.split.photos.model_copy(update={"aspect_ratios": None, "smallest_hw": (1, 1)})
    product = open_product(folder, part="test", photos=photos)
    predict = torch_predictor(opened.detector.to(found_on), found_on)
    size_hw = opened.detector.config.size_hw
    maps: list[NDArray[np.float32]] = []

    def keeping(images: NDArray[np.uint8]) -> list[Prediction]:
        predictions = predict(images)
        maps.extend(prediction.anomaly_map for prediction in predictions)
        return predictions

    exact = evaluate(keeping, product, size_hw, photos=photos, progress=progress)
    paper = paper_metrics(exact.samples, exact.scores, np.stack(maps), photos)
    shifted = _shifted(predict, product, size_hw, photos, shifts) if shifts else {}
    return {"exact": {**exact.metrics, **shifted}, "paper": {**paper, **shifted}}


def _shifted(
    predict: Predict, product: Product, size_hw: tuple[int, int], photos: PhotoSpec, kinds: Sequence[str]
) -> dict[str, float]:
    asked = parse_shifts([f"{_FAMILY}{kind}:{SEVERITY}" for kind in kinds])
    report = measure_shift(predict, product, size_hw, None, photos, asked, pixels="none")
    steps = {result.kind.name.removeprefix(_FAMILY): result.steps[0] for result in report.results}
    return {f"image_auroc@{name}": step.image_auroc for name, step in steps.items() if step.image_auroc is not None}
