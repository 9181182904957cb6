"""From images to what the epochs need: features, everything that is fitted on them, and the frozen parts' results."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.data.splits import GoodSplit
from edge_ad.data.views import one_view_each, with_views
from edge_ad.images import read_resized
from edge_ad.models.base import AnomalyDetector
from edge_ad.training.feature_cache import FeatureCache, compute_features, to_tensor
from edge_ad.training.labelled_defects import LabelledPhotos, read_labelled
from edge_ad.training.loop import LoopSettings, TrainingSet, run_stages
from edge_ad.training.precision import choose_device, on_device
from edge_ad.training.runs import Run, read_record

__all__ = [
    "FeaturesOf",
    "fit_after_training",
    "fit_features",
    "fit_photos",
    "fit_to_images",
    "fitted_views",
    "loop_settings",
    "prepare",
    "refit",
]

# Other draws than those that judge a detector: the seeds of these begin at the detector's own, which are small.
_FIRST_DEFECT_SEED = 1 << 40
_DRAWS_PER_SEED = 1 << 10

_CPU = torch.device("cpu")

FeaturesOf: TypeAlias = Callable[[NDArray[np.uint8]], Tensor]
"""uint8 BGR (N, H, W, 3) → backbone features float32 (N, C, h, w)."""


def prepare(
    detector: AnomalyDetector,
    split: GoodSplit,
    device: torch.device = _CPU,
    labelled: LabelledPhotos | None = None,
) -> TrainingSet:
    """Read the images, fit what is fitted, and compute what the frozen parts say of the fitting images.

    Args:
        detector: On the CPU, and left there.
        split: Its photos.
        device: Where the frozen networks compute.
        labelled: Photos of defective parts, for a detector that learns from them.
    """
    fit, held_out = _read(detector, split)
    fit_photos(detector, fit)
    frozen = None if detector.trains_backbone else detector.backbone
    if frozen is None:  # what is left has no fitted part: it may compute on the device as a whole
        with on_device(detector, device):
            return fit_to_images(detector, fit, held_out, None)
    with on_device(frozen, device):
        features_of = FeatureCache(frozen, device)
        return fit_to_images(detector, fit, held_out, features_of, labelled)


def fit_after_training(detector: AnomalyDetector, split: GoodSplit, device: torch.device = _CPU) -> None:
    """Fit what is fitted on a backbone that the gradient stages have trained; nothing where it was frozen."""
    if detector.trains_backbone and detector.backbone is not None:
        fit, held_out = _read(detector, split)
        with on_device(detector.backbone, device):
            fit_features(detector, fit, held_out, partial(compute_features, detector.backbone, device=device))


def fit_photos(detector: AnomalyDetector, photos: NDArray[np.uint8]) -> None:
    """Fit what brings a picture to what the fitting photos have, uint8 BGR (N, H, W, 3), before any features."""
    detector.fit_photos(torch.from_numpy(np.ascontiguousarray(photos[..., ::-1])).permute(0, 3, 1, 2))


def fit_features(
    detector: AnomalyDetector, fit: NDArray[np.uint8], held_out: NDArray[np.uint8], features_of: FeaturesOf
) -> Tensor:
    """Fit what is fitted on features of photos and of their views.

    Returns:
        Features of both, float32 (N, C, h, w), as they were fitted on.
    """
    features = features_of(fitted_views(detector, fit))
    detector.fit_features(features, features_of(held_out) if len(held_out) else features[:0])
    return features


def fitted_views(detector: AnomalyDetector, photos: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is fitted on of photos: each one, its views and its rotations, uint8 BGR (N', H, W, 3)."""
    return with_views(photos, detector.views, seed=detector.config.seed, rotations=detector.rotations)


def fit_to_images(
    detector: AnomalyDetector,
    fit: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    features_of: FeaturesOf | None,
    labelled: LabelledPhotos | None = None,
) -> TrainingSet:
    """Fit what is fitted on features, and compute what the frozen parts say of the fitting images.

    Args:
        detector: After `fit_photos`. Its fitted parts are replaced; one that trains on features starts anew.
        fit: uint8 BGR (N, H, W, 3) to fit and train on.
        held_out: uint8 BGR (M, H, W, 3) for quantiles.
        features_of: The backbone, in whatever form; None for a detector without one, or one that trains it.
        labelled: Photos of defective parts, for a detector that learns from them.
    """
    features = None
    if features_of is not None:
        features = fit_features(detector, fit, held_out, features_of)
        _show_defects(detector, fit, features_of)
        if labelled is not None:
            detector.fit_labelled(features_of(labelled.images), *labelled.tensors)
    seen = fitted_views(detector, fit)
    images = torch.empty(len(seen), 0) if detector.trains_on_features else to_tensor(seen)
    return TrainingSet(seen, detector.frozen_outputs(images, features), detector.views, held_out)


def _read(detector: AnomalyDetector, split: GoodSplit) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images to fit on, and those held out, uint8 BGR (N, H, W, 3) each."""
    size_hw = detector.config.size_hw
    fit, held_out = (read_resized(part, size_hw, split.photos) for part in (split.fit, split.calibrate))
    return fit, held_out


def _show_defects(detector: AnomalyDetector, fit: NDArray[np.uint8], features_of: FeaturesOf) -> None:
    """Paint pseudo-defects on the fitting photos for a detector that learns from them; a view is taken of both."""
    for draw in range(detector.defect_draws):
        seed = _FIRST_DEFECT_SEED + detector.config.seed * _DRAWS_PER_SEED + draw
        painted, masks = PseudoDefects(seed, kinds=detector.defect_kinds).apply(fit)
        painted = one_view_each(painted, detector.views, draw, seed=detector.config.seed)
        detector.fit_defects(features_of(painted), torch.from_numpy(masks))


def refit(run: Run, fit: NDArray[np.uint8], held_out: NDArray[np.uint8], features_of: FeaturesOf) -> AnomalyDetector:
    """A run's detector as its training would have left it on other features, such as those of an INT8 backbone.

    What is fitted is fitted again. A head that was trained on features is trained again, with the run's own settings; a
    network that was trained on images stays as it is.

    Args:
        run: A finished run; its own detector is left alone.
        fit: Its fitting images, uint8 BGR (N, H, W, 3).
        held_out: Its calibration images, uint8 BGR (M, H, W, 3).
        features_of: The backbone in its other form.

    Returns:
        The detector, on the CPU and in evaluation mode.
    """
    detector = copy.deepcopy(run.detector)
    if not detector.trains_on_features:
        fit_features(detector, fit, held_out, features_of)
        return detector.eval()
    labelled = read_labelled(run.labelled, run.product_root, detector.config.size_hw, run.split.photos)
    data = fit_to_images(detector, fit, held_out, features_of, labelled)
    settings = loop_settings(read_record(run.root).training, detector)
    run_stages(detector.to(settings.device), data, settings, lambda report: None)
    return detector.cpu().eval()


def loop_settings(training: Mapping[str, Any], detector: AnomalyDetector) -> LoopSettings:
    """Settings of the loop as ``run.json`` records them under ``training``."""
    return LoopSettings(
        seed=detector.config.seed,
        device=choose_device(str(training["device"])),
        batch_size=int(str(training["batch_size"])),
        flips=bool(training["flips"]),
        mixed_precision=bool(training["mixed_precision"]),
        workers=int(str(training.get("workers", 0))),
        compiled=bool(training.get("compiled", False)),
    )
