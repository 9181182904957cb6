"""Metrics as the code of SimpleNet and PBAS computes them, to compare with what is published; they choose nothing.

Maps and masks are those of the network's input: where that is a crop, a defect beside it is not missed. A mask is
resized with the photo, and only pixels that it covers entirely count as defective, since the code rounds the others
down. For PRO, predictions are dilated by 5×5 pixels at 200 thresholds between the lowest and the highest value of all
maps before they are compared with the regions, but not before false positives are counted; rates below 0.3 are divided
by the highest of them. All of it makes the figures larger than the exact ones (github.com/DonaldRR/SimpleNet:
metrics.py, datasets/mvtec.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.masks import marked_pixels
from edge_ad.data.samples import Sample
from edge_ad.evaluation.metrics import pixel_auroc, pixel_average_precision
from edge_ad.evaluation.sample_metrics import image_metrics
from edge_ad.photo_spec import PhotoSpec

__all__ = ["covered_entirely", "paper_metrics", "paper_pro"]

_THRESHOLDS = 200
_MOST_FALSE = 0.3
_DILATION = np.ones((5, 5), np.uint8)


def paper_pro(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> float:
    """Area under per-region overlap over false-positive rate, by that code's rules.

    Args:
        masks: bool (N, H, W), True where the defect is.
        maps: float32 (N, H, W).

    Returns:
        In [0, 1]; NaN where there are no regions or no rates below 0.3.
    """
    regions = [_regions(mask) for mask in masks]
    if not any(regions):
        return float("nan")
    negatives = ~masks
    rates, overlaps = [], []
    low, high = float(maps.min()), float(maps.max())
    for threshold in np.arange(low, high, (high - low) / _THRESHOLDS) if high > low else ():
        called = maps > threshold
        rate = float((called & negatives).sum() / negatives.sum())
        if rate < _MOST_FALSE:
            rates.append(rate)
            overlaps.append(_overlap(called, regions))
    if not rates or max(rates) == 0:
        return float("nan")
    # Thresholds rise, so rates fall; among equal rates, the order of the thresholds stays.
    rising, height = np.asarray(rates)[::-1] / max(rates), np.asarray(overlaps)[::-1]
    return float((np.diff(rising) * (height[1:] + height[:-1]) / 2).sum())


def paper_metrics(
    samples: Sequence[Sample], scores: NDArray[np.float64], maps: NDArray[np.float32], photos: PhotoSpec
) -> dict[str, float]:
    """Metrics by those rules.

    Args:
        samples: N test images.
        scores: (N,) of them.
        maps: float32 (N, h, w), as the network gives them.
        photos: How photos fill the network's input.

    Returns:
        ``image_auroc``, ``image_ap``, ``pixel_auroc``, ``pixel_ap`` and ``pro``, as far as there are defects and masks;
        images without a usable mask are left out of the last three.

    Raises:
        DataError: A mask cannot be read.
    """
    found = image_metrics(samples, scores)
    size_hw = (maps.shape[1], maps.shape[2])
    known = [index for index, sample in enumerate(samples) if not sample.is_defective or sample.masks]
    masks = np.stack([_mask(samples[index], size_hw, photos) for index in known])
    if not masks.any() or masks.all():
        return found
    own = maps[known]
    return found | {
        "pixel_auroc": pixel_auroc(masks, own),
        "pixel_ap": pixel_average_precision(masks, own),
        "pro": paper_pro(masks, own),
    }


def _mask(sample: Sample, size_hw: tuple[int, int], photos: PhotoSpec) -> NDArray[np.bool_]:
    if not sample.is_defective:
        return np.zeros(size_hw, np.bool_)
    marked = marked_pixels(sample.masks)[0]
    top, left, height, width = photos.seen_of(marked.shape[0], marked.shape[1], size_hw)
    return covered_entirely(marked[top : top + height, left : left + width], size_hw)


def covered_entirely(mask: NDArray[np.bool_], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels of a resized mask to which no unmarked pixel contributes, by Pillow's bilinear filter.

    Args:
        mask: bool (H, W).
        size_hw: Height and width of the result, in pixels.
    """
    (top, bottom), (left, right) = _contributing(mask.shape[0], size_hw[0]), _contributing(mask.shape[1], size_hw[1])
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(0).cumsum(1)
    marked = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    return np.asarray(marked == np.outer(bottom - top, right - left), np.bool_)


def _contributing(length: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and one past the last pixel along an axis that contribute to each of ``size``."""
    scale = length / size
    support = max(scale, 1.0)
    centres = (np.arange(size) + 0.5) * scale
    # Those whose middle lies within the support: at its ends the filter is zero.
    first: NDArray[np.intp] = np.maximum(np.floor(centres - support - 0.5).astype(np.intp) + 1, 0)
    end: NDArray[np.intp] = np.minimum(np.ceil(centres + support - 0.5).astype(np.intp), length)
    return first, end


def _regions(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    found = (np.nonzero(np.asarray(labels) == label) for label in range(1, count))
    return [(rows, columns) for rows, columns in found]


def _overlap(
    called: NDArray[np.bool_], regions: Sequence[Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]]
) -> float:
    shares = []
    for one, own in zip(called, regions, strict=True):
        if own:
            dilated = cv2.dilate(one.astype(np.uint8), _DILATION)
            shares += [float(dilated[region].mean()) for region in own]
    return float(np.mean(shares))
