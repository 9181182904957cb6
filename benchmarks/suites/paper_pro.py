"""PRO as the code of SimpleNet and PBAS computes it, to compare with what is published; it chooses nothing.

At 200 thresholds between the lowest and the highest value of all maps, predictions are dilated by 5×5 pixels before
they are compared with the regions, but not before false positives are counted; rates below 0.3 are divided by the
highest of them. Both make the figure larger than the exact one (github.com/DonaldRR/SimpleNet: metrics.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.products import Sample, read_mask

__all__ = ["paper_pro", "paper_pro_of"]

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


def paper_pro_of(samples: Sequence[Sample], maps: NDArray[np.float32]) -> float:
    """That of test images and their maps (N, H, W); images without a usable mask are left out."""
    size_hw = (maps.shape[1], maps.shape[2])
    known = [index for index, sample in enumerate(samples) if not sample.is_defective or sample.mask_path is not None]
    masks = np.stack([read_mask(samples[index], size_hw) for index in known])
    return paper_pro(masks, maps[known])


def _regions(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [np.nonzero(np.asarray(labels) == label) for label in range(1, count)]


def _overlap(
    called: NDArray[np.bool_], regions: Sequence[Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]]
) -> float:
    shares = []
    for one, own in zip(called, regions, strict=True):
        if own:
            dilated = cv2.dilate(one.astype(np.uint8), _DILATION)
            shares += [float(dilated[region].mean()) for region in own]
    return float(np.mean(shares))
