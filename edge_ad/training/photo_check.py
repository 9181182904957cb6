"""Which photos of good parts look least like the others: defects among them are trained on as if they were normal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_ad.data.geometry import fitting_size
from edge_ad.data.splits import GoodSplit
from edge_ad.evaluation.drawing import encode_png
from edge_ad.evaluation.sheet import SheetRow, SheetSection, draw_sheet
from edge_ad.evaluation.thresholds import good_images_needed
from edge_ad.images import read_image, read_resized, resize
from edge_ad.models.patch_gaussian import PatchGaussian, PatchGaussianParameters
from edge_ad.prediction import Prediction
from edge_ad.storage import write_file
from edge_ad.strict_json import to_json
from edge_ad.training.feature_cache import compute_features
from edge_ad.training.runs import Run, torch_predictor

__all__ = ["CHECK_FILE", "SHEET_FILE", "PhotoCheck", "check_photos", "oddness", "photos_needed"]

CHECK_FILE = "photo_check.json"
SHEET_FILE = "oddest_photos.png"
_PIXELS = 256 * 256  # of patch-gaussian, which needs no training, and which a defect in a few photos hardly moves
_VALUES = {**PatchGaussian.parameters_type.absent, "rank": 16}  # a photo in another light is odd too
_FOLDS = 5
_MOST_PHOTOS = 400  # a minute on two cores
_SHOWN = 8
_STANDS_OUT = 6.0  # deviations above the median; the oddest of clean sets were at 2 to 5
_MAD_TO_DEVIATION = 1.4826  # of normally distributed scores
_SHEET_LONGEST = 512

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhotoCheck:
    """What the check found.

    Attributes:
        photos: How many photos were scored.
        left_out: How many were not, since there are too many.
        oddest: The oddest photos, the strangest first, with their oddness in deviations above the median.
        standing_out: How many of all are more than 6 deviations above the median.
        held_out_median: Median score that the trained detector gives to the photos that set the threshold.
        held_out_highest: The highest of them.
        held_out: How many these are.
        copies: Photos whose content another photo has too.
    """

    photos: int
    left_out: int
    oddest: tuple[tuple[Path, float], ...]
    standing_out: int
    held_out_median: float
    held_out_highest: float
    held_out: int
    copies: int


def check_photos(run: Run, progress: Progress = lambda done, total: None) -> PhotoCheck:
    """Score each good photo of a run by a detector that has not seen it, and write what is odd into the run.

    Writes ``photo_check.json`` and ``oddest_photos.png``.

    Args:
        run: A finished run.
        progress: Told photos done and in all.

    Raises:
        DataError: A photo cannot be read any more.
        StorageError: The files cannot be written.
    """
    paths = _once(run.split, run)
    indices = np.linspace(0, len(paths) - 1, min(len(paths), _MOST_PHOTOS)).round().astype(int)
    chosen = [paths[index] for index in indices]
    images = read_resized(chosen, _size_hw(run), run.split.photos)
    predictions = _cross_fitted(images, progress)
    odd = oddness(np.array([prediction.score for prediction in predictions]))
    order = [int(index) for index in np.argsort(-odd, kind="stable")[:_SHOWN]]
    order = [index for index in order if odd[index] > 0] or order[:1]
    held_out = _held_out_scores(run)
    total = len({*run.split.fit, *run.split.calibrate, *run.split.threshold})
    check = PhotoCheck(
        photos=len(chosen),
        left_out=len(paths) - len(chosen),
        oddest=tuple((chosen[index], float(odd[index])) for index in order),
        standing_out=int((odd > _STANDS_OUT).sum()),
        held_out_median=float(np.median(held_out)),
        held_out_highest=float(held_out.max()),
        held_out=len(held_out),
        copies=total - len(paths),
    )
    _write(run, check, [predictions[index] for index in order])
    return check


def oddness(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N,) as deviations above their median, by the median absolute deviation; 0 where all are alike.

    Where more than half are alike, by the mean absolute deviation: what differs must not look like the others.
    """
    above = scores - np.median(scores)
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(above))) or float(np.abs(above).mean())
    return np.asarray(above / deviation if deviation > 0 else np.zeros_like(above), np.float64)


def photos_needed(split: GoodSplit, false_alarm_rate: float) -> int:
    """How many good photos in all set a threshold for a false-alarm rate in (0, 1), split as these were."""
    if split.folds:
        return good_images_needed(false_alarm_rate)
    parts = [len(part) for part in (split.fit, split.calibrate, split.threshold)]
    return -(-good_images_needed(false_alarm_rate) * sum(parts) // parts[2])


def _once(split: GoodSplit, run: Run) -> list[Path]:
    """The photos by path, each content once."""
    found = {run.image_hashes[path]: path for path in (*split.fit, *split.calibrate, *split.threshold)}
    return sorted(found.values())


def _cross_fitted(images: NDArray[np.uint8], progress: Progress) -> list[Prediction]:
    """A prediction for each image, by a detector that was fitted on the other folds."""
    detector = PatchGaussian(PatchGaussianParameters.model_validate({**_VALUES, "size": images.shape[1:3]})).eval()
    features = compute_features(detector.patch_features, images)
    folds = np.arange(len(images)) % min(_FOLDS, len(images))
    found: dict[int, Prediction] = {}
    for fold in np.unique(folds):
        others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        detector.fit_features(features[others], features[others])
        for index in own:
            found[int(index)] = _predicted(detector, features[index : index + 1])
        progress(len(found), len(images))
    return [found[index] for index in range(len(images))]


@torch.inference_mode()
def _predicted(detector: PatchGaussian, features: Tensor) -> Prediction:
    output = detector.score_features(features)
    return Prediction(float(output.score[0]), output.anomaly_map[0, 0].numpy())


def _held_out_scores(run: Run) -> NDArray[np.float64]:
    if run.split.folds:
        return np.array([run.good_scores[path] for path in run.split.threshold])
    size_hw = run.detector.config.size_hw
    predict = torch_predictor(run.detector)
    images = (read_resized([path], size_hw, run.split.photos) for path in run.split.threshold)
    return np.array([predict(image)[0].score for image in images])


def _write(run: Run, check: PhotoCheck, predictions: Sequence[Prediction]) -> None:
    document = {
        "photos": check.photos,
        "left_out": check.left_out,
        "oddest": [{"photo": _name(run, path), "deviations": round(odd, 2)} for path, odd in check.oddest],
        "standing_out": check.standing_out,
        "held_out": {"photos": check.held_out, "median": check.held_out_median, "highest": check.held_out_highest},
        "copies": check.copies,
    }
    write_file(run.root / CHECK_FILE, to_json(document, indent=2).encode() + b"\n")
    level = float(np.median([prediction.anomaly_map.max() for prediction in predictions]))
    rows = [
        _row(run, number, path, odd, prediction)
        for number, ((path, odd), prediction) in enumerate(zip(check.oddest, predictions, strict=True), 1)
    ]
    sheet = draw_sheet(
        [SheetSection(_heading(check), rows)],
        map_threshold=level or 1.0,
        title=f"Oddest good photos of {run.product_name}",
        subtitle="Each was scored by a detector that has not seen it. The score is in deviations above the median.",
    )
    write_file(run.root / SHEET_FILE, encode_png(sheet))


def _size_hw(run: Run) -> tuple[int, int]:
    """Of the shape of the run's own input."""
    height, width = run.detector.config.size_hw
    return fitting_size(width / height, _PIXELS, PatchGaussian.size_multiple(None))


def _heading(check: PhotoCheck) -> str:
    if check.standing_out:
        return "The strangest first; take out what is no good part, and train again"
    return "The strangest first; none stands out"


def _row(run: Run, number: int, path: Path, odd: float, prediction: Prediction) -> SheetRow:
    photos = run.split.photos
    image = read_image(path, photos.significant_bits)
    scale = min(1.0, _SHEET_LONGEST / max(image.shape[:2]))
    size_hw = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    matrix = photos.prepare(image, _size_hw(run)).matrix
    on_photo = photos.map_on_photo(prediction.anomaly_map, (image.shape[0], image.shape[1]), matrix)
    shown = resize(image, size_hw)
    return SheetRow(f"No. {number}", path.name, False, odd, None, shown, on_photo, is_truth_known=False)


def _name(run: Run, path: Path) -> str:
    return path.relative_to(run.product_root).as_posix() if path.is_relative_to(run.product_root) else path.name
