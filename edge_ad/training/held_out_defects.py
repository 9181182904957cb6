"""What a finished run makes of simulated defects on good images that no weight was trained on.

No test image is seen, so parameters may be chosen by these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects import KINDS, PseudoDefects
from edge_ad.data.splits import GoodSplit
from edge_ad.evaluation.metrics import image_auroc, pixel_average_precision
from edge_ad.evaluation.sheet import DefectExample
from edge_ad.images import read_resized
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.ear import Ear, EarParameters
from edge_ad.models.registry import create_detector
from edge_ad.prediction import Prediction
from edge_ad.training.feature_cache import to_tensor
from edge_ad.training.loop import LoopSettings, TrainingSet, run_stages
from edge_ad.training.runs import torch_predictor

__all__ = ["CANDIDATES", "HeldOutDefects", "choose_mosaic_scale", "judge_defects", "separation"]

CANDIDATES = (4, 8, 16, 32)
_SHARE_OF_STEPS = 4
_DRAWS = 4


@dataclass(frozen=True)
class HeldOutDefects:
    """Found and restored.

    Attributes:
        examples: With map, and with reconstruction where the detector makes one.
        image_auroc: Of the scores, defective images against the same ones without a defect.
        pixel_ap: Average precision of the maps over the pixels of the defective images.
        left: Squared difference to the good image inside the masks, after reconstruction over before it; None without.
        good_maximum: Largest map value of the images without a defect.
    """

    examples: list[DefectExample]
    image_auroc: float
    pixel_ap: float
    left: float | None
    good_maximum: float


def judge_defects(detector: AnomalyDetector, examples: Sequence[DefectExample]) -> HeldOutDefects:
    """Show a detector good images and the same ones with defects.

    Args:
        detector: On the CPU and in evaluation mode.
        examples: At least one, each with a defect; images of the size that the detector takes.
    """
    predict = torch_predictor(detector)
    good = [predict(example.good[None])[0] for example in examples]
    found = [predict(example.defective[None])[0] for example in examples]
    judged = [
        replace(example, anomaly_map=item.anomaly_map, reconstruction=_restored(detector, example.defective))
        for example, item in zip(examples, found, strict=True)
    ]
    labels = np.repeat([False, True], len(examples))
    return HeldOutDefects(
        judged,
        image_auroc(labels, np.array([item.score for item in (*good, *found)])),
        pixel_average_precision(np.stack([example.mask for example in examples]), _maps(found)),
        _left(judged),
        float(_maps(good).max()),
    )


@torch.inference_mode()
def _restored(detector: AnomalyDetector, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    restored = detector.reconstruct(to_tensor(image[None]))
    if restored is None:
        return None
    pixels = (restored[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels[..., ::-1])


def _left(examples: Sequence[DefectExample]) -> float | None:
    before = after = 0.0
    for example in examples:
        if example.reconstruction is None:
            return None
        before += _squared(example.defective, example)
        after += _squared(example.reconstruction, example)
    return after / before


def _squared(picture: NDArray[np.uint8], example: DefectExample) -> float:
    difference = picture[example.mask].astype(np.float64) - example.good[example.mask]
    return float(np.square(difference).sum())


def _maps(predictions: Sequence[Prediction]) -> NDArray[np.float32]:
    return np.stack([item.anomaly_map for item in predictions])


def choose_mosaic_scale(
    values: Mapping[str, Any],
    split: GoodSplit,
    prepare: Callable[[AnomalyDetector, GoodSplit, torch.device], TrainingSet],
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
        data = prepare(detector, split, device)
        run_stages(detector, data, LoopSettings(seed=full.seed, device=device), lambda report: None)
        figures[scale] = separation(detector, split, device)
    return max(figures, key=lambda scale: figures[scale]), figures


def separation(
    detector: AnomalyDetector,
    split: GoodSplit,
    device: torch.device | str = "cpu",
    kinds: Sequence[str] = tuple(KINDS),
) -> float:
    """Image AUROC of the held-out calibration images against the same images with pseudo-defects, four draws each.

    Args:
        detector: On the device, in evaluation mode.
        split: Its split.
        device: Where it is.
        kinds: Of the pseudo-defects.
    """
    size_hw = detector.config.size_hw
    good = read_resized(split.calibrate, size_hw, split.photos)
    predict = torch_predictor(detector, device)
    good_scores = [prediction.score for prediction in predict(good)]
    scores = list(good_scores)
    for draw in range(_DRAWS):
        defective, _ = PseudoDefects(detector.config.seed + draw, kinds=kinds).apply(good)
        scores += [prediction.score for prediction in predict(defective)]
    labels = np.arange(len(scores)) >= len(good)
    return image_auroc(labels, np.asarray(scores))
