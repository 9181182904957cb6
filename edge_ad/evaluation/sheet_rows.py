"""From an evaluation to the rows of its picture sheet: read the chosen images again and draw what was found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import Sample, read_mask
from edge_ad.evaluation.results import Evaluation
from edge_ad.evaluation.report_images import choose_images
from edge_ad.evaluation.sheet import CELL, SheetGroup, SheetHeader, SheetRow, draw_sheet
from edge_ad.heatmap import blend, contour
from edge_ad.images import read_image, resize

__all__ = ["Reconstruct", "evaluation_sheet"]

Reconstruct: TypeAlias = Callable[[NDArray[np.uint8]], "NDArray[np.uint8] | None"]
"""uint8 (N, H, W, 3) BGR → the same images as the detector thinks they should look; None when it does not say."""

_TINT_BGR = np.array((74, 190, 0), np.float32)
_MOST_GOOD = 0.95  # of the good test images are below the colour scale's middle when nothing else says where it is

_Picture: TypeAlias = "NDArray[np.uint8] | None"


def evaluation_sheet(
    evaluation: Evaluation, reconstruct: Reconstruct | None = None, map_threshold: float | None = None
) -> NDArray[np.uint8]:
    """Draw the picture sheet of an evaluation.

    Args:
        evaluation: What was measured; its images are read again.
        reconstruct: What the detector thinks normal looks like; no such column without.
        map_threshold: Map value of the contour and of the middle of the colours; by default the decision threshold,
            or, where none was given, a high score of good images, which only pictures depend on.

    Returns:
        uint8 (H, W, 3), BGR.

    Raises:
        DataError: An image or mask cannot be read any more.
    """
    level, level_name = _level(evaluation, map_threshold)
    groups = choose_images(evaluation)
    chosen = [index for group in groups for index in group.indices]
    images = [read_image(evaluation.samples[index].path) for index in chosen]
    restored = _reconstruct(reconstruct, images, evaluation.size_hw)
    rows = {}
    for position, (index, image) in enumerate(zip(chosen, images, strict=True)):
        first, *others = _pictures(evaluation, index, image, level)
        second = [] if restored is None else [_fit(restored[position], first.shape[:2])]
        rows[index] = _row(evaluation, index, (first, *second, *others))
    second_name = [] if restored is None else ["Reconstruction"]
    columns = ("Input", *second_name, "Heat map", "Contour", "Ground truth")
    header = SheetHeader(evaluation.product, _subtitle(evaluation), columns, level, level_name)
    return draw_sheet(header, [SheetGroup(group.title, tuple(rows[i] for i in group.indices)) for group in groups])


def _level(evaluation: Evaluation, map_threshold: float | None) -> tuple[float, str]:
    if map_threshold is not None:
        return map_threshold, "map threshold"
    if evaluation.decisions is not None:
        return evaluation.decisions.threshold.value, "threshold"
    good = evaluation.scores[~evaluation.labels]
    if good.size:
        return float(np.quantile(good, _MOST_GOOD)), f"{_MOST_GOOD:.0%} of good scores"
    return float(np.median(evaluation.scores)), "median score"


def _reconstruct(
    reconstruct: Reconstruct | None, images: Sequence[NDArray[np.uint8]], size_hw: tuple[int, int]
) -> NDArray[np.uint8] | None:
    if reconstruct is None or not images:
        return None
    return reconstruct(np.stack([resize(image, size_hw) for image in images]))


def _pictures(
    evaluation: Evaluation, index: int, image: NDArray[np.uint8], level: float
) -> tuple[NDArray[np.uint8], _Picture, _Picture, _Picture]:
    height, width = image.shape[:2]
    scale = CELL / max(height, width)
    # In the photo's own proportions: a person must recognise the part.
    size_hw = max(1, round(height * scale)), max(1, round(width * scale))
    picture, anomaly_map = _fit(image, size_hw), evaluation.maps[index]
    heat, outline = blend(picture, anomaly_map, level), contour(picture, anomaly_map, level)
    return picture, heat, outline, _ground_truth(picture, evaluation.samples[index])


def _fit(image: NDArray[np.uint8], size_hw: tuple[int, ...]) -> NDArray[np.uint8]:
    return resize(image, (size_hw[0], size_hw[1]))


def _ground_truth(picture: NDArray[np.uint8], sample: Sample) -> _Picture:
    """The photo with the marked defect tinted and outlined; None where nobody marked it."""
    if sample.is_defective and sample.mask_path is None:
        return None
    mask = read_mask(sample, (picture.shape[0], picture.shape[1]))
    drawn = picture.copy()
    drawn[mask] = np.round(0.55 * picture[mask] + 0.45 * _TINT_BGR).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _TINT_BGR.tolist(), 1, cv2.LINE_AA)
    return drawn


def _row(evaluation: Evaluation, index: int, pictures: tuple[_Picture, ...]) -> SheetRow:
    sample, score = evaluation.samples[index], float(evaluation.scores[index])
    path = evaluation.relative_path(index)
    if evaluation.decisions is None:
        return SheetRow(sample.defect_type, (f"score {score:.4g}", path), "", True, pictures)
    threshold = evaluation.decisions.threshold.value
    called = score > threshold
    facts = (f"score {score:.4g} {'>' if called else '<='} {threshold:.4g}", path)
    return SheetRow(sample.defect_type, facts, _verdict(called, sample), called == sample.is_defective, pictures)


def _verdict(called: bool, sample: Sample) -> str:
    if called:
        return "detected" if sample.is_defective else "false alarm"
    return "missed" if sample.is_defective else "passed"


def _subtitle(evaluation: Evaluation) -> str:
    defective = int(evaluation.labels.sum())
    words = [evaluation.engine, f"{len(evaluation.samples)} test images, {defective} of them defective"]
    return "   |   ".join(word for word in words if word)
