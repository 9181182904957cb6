"""What runs of EAR and FADeR hide, attenuate, restore and find on photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge_ad.data.pseudo_defects import PseudoDefects
from edge_ad.errors import UsageError
from edge_ad.evaluation.mask_sheet import MaskColumns, MaskedPhoto, ShownPhoto
from edge_ad.images import read_resized
from edge_ad.models.ear import Ear
from edge_ad.training.feature_cache import to_tensor
from edge_ad.training.runs import Run, torch_predictor

__all__ = ["held_out_photos", "mask_columns", "masking_detector", "read_photos"]


def masking_detector(run: Run) -> Ear:
    """The detector of a run, which has masks.

    Raises:
        UsageError: It has none.
    """
    if not isinstance(run.detector, Ear):
        raise UsageError(f"{run.root} is of method {run.method}, which masks nothing.", "Name runs of ear or fader.")
    return run.detector


def read_photos(run: Run, paths: Sequence[Path]) -> list[ShownPhoto]:
    """Photos as a run sees them."""
    images = read_resized(paths, run.detector.config.size_hw, run.split.photos)
    return [ShownPhoto(path.name, image) for path, image in zip(paths, images, strict=True)]


def held_out_photos(run: Run, count: int, seed: int) -> list[ShownPhoto]:
    """Good photos of a run, held out where some were, each with a simulated defect."""
    held_out = (*run.split.calibrate, *run.split.threshold)
    paths = [held_out[index % len(held_out)] for index in range(count)]
    images = read_resized(paths, run.detector.config.size_hw, run.split.photos)
    painted, masks = PseudoDefects(seed).apply(images)
    return [ShownPhoto(path.name, *parts) for path, *parts in zip(paths, painted, masks, strict=True)]


def mask_columns(run: Run, photos: Sequence[ShownPhoto]) -> MaskColumns:
    """What a run does with photos; the colours of its maps end at twice what it finds in as many good ones.

    Args:
        run: Of EAR or FADeR.
        photos: At least one, of the size that its detector takes.

    Raises:
        UsageError: The run has no masks.
    """
    detector, predict = masking_detector(run), torch_predictor(run.detector)
    good = read_photos(run, (*run.split.calibrate, *run.split.threshold)[: len(photos)])
    highest = max(float(predict(photo.image[None])[0].anomaly_map.max()) for photo in good)
    shown = [_masked(detector, photo.image, predict(photo.image[None])[0].anomaly_map) for photo in photos]
    return MaskColumns(_title(run), max(highest, 1e-6), shown)


@torch.inference_mode()
def _masked(detector: Ear, image: NDArray[np.uint8], anomaly_map: NDArray[np.float32]) -> MaskedPhoto:
    images = to_tensor(image[None])
    masks, restored = detector.masks(images), detector.reconstruct(images)[0]
    pixels = (restored.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    trust = None if masks.trust is None else masks.trust[0, 0].numpy()
    return MaskedPhoto(image, masks.hidden[0, 0].numpy(), trust, np.ascontiguousarray(pixels[..., ::-1]), anomaly_map)


def _title(run: Run) -> str:
    predictor = run.parameters.get("predictor")
    parts = [run.method, f"mask {run.parameters['mask_source']}", *([f"predictor {predictor}"] if predictor else [])]
    return f"{run.root.name}: {', '.join(parts)}"
