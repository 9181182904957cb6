"""Run anything that predicts, a detector or an engine, on the test images of a product and measure it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import folders_hint
from edge_ad.data.samples import Product, Sample
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError, EdgeAdError
from edge_ad.evaluation.results import Evaluation
from edge_ad.evaluation.sample_metrics import brightness_auroc, decide, defect_auroc, image_metrics, pixel_metrics
from edge_ad.images import read_image
from edge_ad.manifest import Threshold
from edge_ad.outside_text import printable
from edge_ad.photo_spec import NetworkInput, PhotoSpec
from edge_ad.prediction import Prediction

__all__ = [
    "JudgedInput",
    "LoadedPredictor",
    "Predictor",
    "Progress",
    "check_test_images",
    "evaluate",
    "evaluate_loaded",
    "predict_batch",
    "read_test_photo",
    "seen_samples",
]

_AS_TRAINED = "Use photos as they were trained on, or train on such ones."
_OR_LEFT_OUT = "Use photos as they were trained on, train on such ones, or leave it out with --skip-unreadable."
_A_QUARTER = 64  # of 8 bits: the highest two are not used
_log = logging.getLogger(__name__)

Predictor: TypeAlias = Callable[[NDArray[np.uint8]], list[Prediction]]
"""uint8 (N, H, W, 3) BGR → one prediction per image."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with images done and images in all."""


@dataclass(frozen=True)
class LoadedPredictor:
    """A run or a bundle, opened to predict.

    Attributes:
        predict: uint8 (N, H, W, 3) BGR → one prediction per image.
        size_hw: Height and width it takes, in pixels.
        threshold: Threshold of its scores; None when it has none.
        engine: What runs, in words, such as ``"openvino int8"``.
        method: Method of the detector.
        photos: What the photos were like that it was trained on.
    """

    predict: Predictor
    size_hw: tuple[int, int]
    threshold: Threshold | None
    engine: str
    method: str
    photos: PhotoSpec = field(default_factory=PhotoSpec)


def evaluate(
    predict: Predictor,
    product: Product,
    size_hw: tuple[int, int],
    *,
    batch: int = 8,
    threshold: Threshold | None = None,
    photos: PhotoSpec | None = None,
    engine: str = "",
    trained_on: Collection[str] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Score every test image of a product and compare with the ground truth.

    Only ``batch`` images are in memory at a time; of every image one float32 map and one mask are kept.

    Args:
        predict: What predicts.
        product: Opened product with test images.
        size_hw: Height and width that images and masks are resized to, in pixels.
        batch: Images per call of ``predict``, >= 1.
        threshold: Threshold to count false alarms and detections at.
        photos: What the photos were like that were trained on, and how they fill the input; None as runs of before.
        engine: What runs, in words, for the record.
        trained_on: Content hashes of the photos that were trained on.
        progress: Told after every batch.

    Raises:
        DataError: No test images, or one that cannot be read, or is of another depth or shape than those that were
            trained on.
        EdgeAdError: The number of predictions differs from the number of images, or a score or map is not finite.
    """
    check_test_images(product)
    photos = photos or PhotoSpec()
    outputs = _predict_all(predict, product.test, size_hw, photos, batch, progress)
    samples, unjudged = outputs.samples, outputs.unjudged
    if not samples:
        raise DataError(f"None of the {len(unjudged)} test photos could be judged: {unjudged[0][1]}.", _AS_TRAINED)
    bits = photos.significant_bits or 8
    if bits > 8 and outputs.brightest < _A_QUARTER:
        _log.warning(
            "No test photo uses more than %d of the %d bits that were trained on: they may be of another depth.",
            bits - 2,
            bits,
        )
    pixel_values, without_mask = pixel_metrics(samples, outputs.maps, photos.map_hw(size_hw))
    return Evaluation(
        product=product.name,
        root=product.root,
        size_hw=size_hw,
        samples=samples,
        scores=outputs.scores,
        maps=outputs.maps,
        metrics=image_metrics(samples, outputs.scores) | pixel_values,
        defect_auroc=defect_auroc(samples, outputs.scores),
        brightness_auroc=brightness_auroc(samples, outputs.brightness),
        without_mask=without_mask,
        decisions=None if threshold is None else decide(samples, outputs.scores, threshold),
        engine=engine,
        photos=photos,
        seen=seen_samples(samples, trained_on),
        unjudged=unjudged,
    )


def seen_samples(samples: Sequence[Sample], trained_on: Collection[str]) -> tuple[int, ...]:
    """Indices of test images whose content was trained on."""
    if not trained_on:
        return ()
    return tuple(index for index, sample in enumerate(samples) if content_hash(sample.path) in trained_on)


def evaluate_loaded(
    predictor: LoadedPredictor,
    product: Product,
    *,
    trained_on: Collection[str] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """`evaluate` with what an opened run or bundle brings: its input, threshold and photos.

    Raises:
        DataError: As `evaluate`.
        EdgeAdError: As `evaluate`.
    """
    return evaluate(
        predictor.predict,
        product,
        predictor.size_hw,
        threshold=predictor.threshold,
        photos=predictor.photos,
        engine=predictor.engine,
        trained_on=trained_on,
        progress=progress,
    )


def check_test_images(product: Product) -> None:
    """Refuse a product that nothing can be measured on.

    Raises:
        DataError: It has no test images.
    """
    if not product.test:
        raise DataError(
            f"{product.name} has no test images.",
            f"Put them in test/good and test/<defect type> beside train/good. {folders_hint(product.root)}",
        )
    types = sorted({sample.defect_type for sample in product.test if sample.is_defective})
    if all(sample.is_defective for sample in product.test):
        words = printable(", ".join(types))
        _log.warning("There are no good photos to test with, so no image AUROC; taken as defects: %s.", words)


class _Outputs(NamedTuple):
    samples: tuple[Sample, ...]  # the N that were judged
    scores: NDArray[np.float64]  # (N,)
    maps: NDArray[np.float32]  # (N, h, w)
    brightness: NDArray[np.float64]  # (N,) mean grey level, 0..255
    brightest: int  # highest value of all images, 0..255
    unjudged: tuple[tuple[Sample, str], ...]  # with the reason


def _predict_all(
    predict: Predictor,
    samples: Sequence[Sample],
    size_hw: tuple[int, int],
    photos: PhotoSpec,
    batch: int,
    progress: Progress | None,
) -> _Outputs:
    count, map_hw = len(samples), photos.map_hw(size_hw)
    scores, maps, brightness = np.empty(count), np.empty((count, *map_hw), np.float32), np.empty(count)
    judged: list[Sample] = []
    unjudged: list[tuple[Sample, str]] = []
    brightest = 0
    for start in range(0, count, batch):
        part = samples[start : start + batch]
        frames = [read_test_photo(sample, photos) for sample in part]
        brightest = max(brightest, *(int(frame.max()) for frame in frames))
        tests = [JudgedInput.of(*pair, photos, size_hw) for pair in zip(part, frames, strict=True)]
        unjudged += [(test.sample, test.made.problem) for test in tests if test.made.problem]
        tests = [test for test in tests if not test.made.problem]
        place = slice(len(judged), len(judged) + len(tests))
        if tests:
            scores[place], maps[place] = predict_batch(predict, tests, photos)
            brightness[place] = [cv2.cvtColor(test.made.image, cv2.COLOR_BGR2GRAY).mean() for test in tests]
        judged += [test.sample for test in tests]
        if progress is not None:
            progress(start + len(part), count)
    kept = slice(0, len(judged))
    return _Outputs(tuple(judged), scores[kept], maps[kept], brightness[kept], brightest, tuple(unjudged))


class JudgedInput(NamedTuple):
    """A test image in the network's input.

    Attributes:
        sample: The test image.
        made: What it became.
        photo_hw: Height and width of the photo, in pixels.
    """

    sample: Sample
    made: NetworkInput
    photo_hw: tuple[int, int]

    @classmethod
    def of(cls, sample: Sample, photo: NDArray[np.uint8], photos: PhotoSpec, size_hw: tuple[int, int]) -> JudgedInput:
        """Bring a photo, uint8 (H, W, 3) BGR, into the input."""
        return cls(sample, photos.prepare(photo, size_hw), (photo.shape[0], photo.shape[1]))


def predict_batch(
    predict: Predictor, tests: Sequence[JudgedInput], photos: PhotoSpec
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Predict, and bring the maps onto the photos.

    Args:
        predict: What predicts.
        tests: N test images, at least one, whose inputs have no problem.
        photos: How photos fill the input.

    Returns:
        Scores (N,), and maps (N, h, w) that cover the photos as a whole, at `PhotoSpec.map_hw`.

    Raises:
        EdgeAdError: The number of predictions differs from the number of images, or a score or map is not finite.
    """
    images = np.stack([test.made.image for test in tests])
    predictions = predict(images)
    if len(predictions) != len(images):
        raise EdgeAdError(f"{len(predictions)} predictions came back for {len(images)} images.")
    map_hw = photos.map_hw((images.shape[1], images.shape[2]))
    scores, maps = np.empty(len(images)), np.empty((len(images), *map_hw), np.float32)
    for index, (prediction, test) in enumerate(zip(predictions, tests, strict=True)):
        _check_finite(prediction, test.sample)
        scores[index] = prediction.score
        on_photo = photos.map_on_photo(prediction.anomaly_map, test.photo_hw, test.made.matrix)
        maps[index] = _at_size(on_photo, map_hw)
    return scores, maps


def read_test_photo(sample: Sample, photos: PhotoSpec) -> NDArray[np.uint8]:
    """Read a test image, uint8 (H, W, 3) BGR.

    Raises:
        DataError: It cannot be read, or is of another depth or shape than those that were trained on.
    """
    image = read_image(sample.path, photos.significant_bits)
    if problem := photos.shape_problem(*image.shape[:2]):
        raise DataError(f"{sample.path} cannot be judged: {problem}.", _OR_LEFT_OUT)
    return image


def _check_finite(prediction: Prediction, sample: Sample) -> None:
    if not (np.isfinite(prediction.score) and np.isfinite(prediction.anomaly_map).all()):
        raise EdgeAdError(
            f"The score or the anomaly map of {sample.path} is NaN or infinite.",
            "The detector is broken: train or export it again.",
        )


def _at_size(anomaly_map: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    if anomaly_map.shape == size_hw:
        return anomaly_map
    resized: Any = cv2.resize(anomaly_map, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
