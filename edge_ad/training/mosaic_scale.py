"""The mosaic scale m* of a product: EAR gives no public rule, so it is measured, and never on a test image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.data.splits import GoodSplit
from edge_ad.evaluation.metrics import image_auroc
from edge_ad.images import read_resized
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.models.registry import create_detector
from edge_ad.training.loop import LoopSettings, TrainingSet, run_stages
from edge_ad.training.runs import torch_predictor

__all__ = ["CANDIDATES", "choose_mosaic_scale", "separation"]

CANDIDATES = (4, 8, 16, 32)
_SHARE_OF_STEPS = 4
_DRAWS = 4


def choose_mosaic_scale(
    values: Mapping[str, Any],
    split: GoodSplit,
    prepare: Callable[[AnomalyDetector, GoodSplit], TrainingSet],
    device: torch.device,
) -> tuple[int, dict[int, float]]:
    """Train EAR briefly with each candidate and take the best at telling held-out good images from pseudo-defects.

    Args:
        values: Parameters of the method, without ``mosaic``; those of EAR are used.
        split: The calibration images are the held-out ones.
        prepare: Reads the images and fits what is fitted.
        device: Where to train.

    Returns:
        The scale, pixels, and the image AUROC of each candidate.
    """
    kept = {key: value for key, value in values.items() if key in EarParameters.model_fields}
    full = EarParameters.model_validate(kept)
    figures = {}
    for scale in CANDIDATES:
        config = {**kept, "mosaic": scale, "epochs": 0, "steps": max(1, full.steps // _SHARE_OF_STEPS)}
        detector = create_detector(Ear.method, config)
        data = prepare(detector, split)
        run_stages(detector.to(device), data, LoopSettings(seed=full.seed, device=device), lambda report: None)
        figures[scale] = separation(detector.cpu(), split)
    return max(figures, key=lambda scale: figures[scale]), figures


def separation(detector: AnomalyDetector, split: GoodSplit) -> float:
    """Image AUROC of the held-out calibration images against the same images with pseudo-defects, four draws each."""
    size_hw = (detector.config.size, detector.config.size)
    good = read_resized(split.calibrate, size_hw, split.photos)
    predict = torch_predictor(detector)
    good_scores = [prediction.score for prediction in predict(good)]
    scores = list(good_scores)
    for draw in range(_DRAWS):
        defective, _ = PseudoDefects(detector.config.seed + draw).apply(good)
        scores += [prediction.score for prediction in predict(defective)]
    labels = np.arange(len(scores)) >= len(good)
    return image_auroc(labels, np.asarray(scores))
