"""Metrics of a product's test images by what was predicted of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_ad.data.samples import Sample, read_mask
from edge_ad.evaluation.metrics import average_precision, image_auroc, pixel_auroc, pixel_average_precision, pro
from edge_ad.evaluation.results import Decisions, Rate
from edge_ad.manifest import Threshold

__all__ = ["brightness_auroc", "decide", "defect_auroc", "image_metrics", "pixel_metrics"]


def image_metrics(samples: Sequence[Sample], scores: NDArray[np.float64]) -> dict[str, float]:
    """``image_auroc`` and ``image_ap`` of scores (N,); empty unless there are good and defective images."""
    labels = _labels(samples)
    if not _has_both(labels):
        return {}
    return {"image_auroc": image_auroc(labels, scores), "image_ap": average_precision(labels, scores)}


def pixel_metrics(
    samples: Sequence[Sample], maps: NDArray[np.float32], size_hw: tuple[int, int]
) -> tuple[dict[str, float], int]:
    """Pixel metrics over the images whose ground truth is known.

    Args:
        samples: N test images.
        maps: float32 (N, h, w).
        size_hw: Height and width of the maps, in pixels; masks are resized to it.

    Returns:
        ``pixel_auroc``, ``pixel_ap`` and ``pro``, empty unless there are good and defective pixels, and the number
        of defective images without a marked pixel.
    """
    masks = np.zeros(maps.shape, np.bool_)
    known = np.zeros(len(samples), np.bool_)
    for index, sample in enumerate(samples):
        if sample.mask_path is not None:
            masks[index] = read_mask(sample, size_hw)
        # A defective image without a marked pixel says nothing about its pixels: none may count as good.
        known[index] = not sample.is_defective or masks[index].any()
    without_mask = int(len(samples) - known.sum())
    if without_mask:
        masks, maps = masks[known], maps[known]
    if not _has_both(masks):
        return {}, without_mask
    values = {"pixel_auroc": pixel_auroc(masks, maps), "pixel_ap": pixel_average_precision(masks, maps)}
    return values | {"pro": pro(masks, maps)}, without_mask


def defect_auroc(samples: Sequence[Sample], scores: NDArray[np.float64]) -> dict[str, float]:
    """Image AUROC of each defect type against all good images; empty unless there are both."""
    labels, types = _labels(samples), _types(samples)
    if not _has_both(labels):
        return {}
    chosen = {name: ~labels | (labels & (types == name)) for name in _defect_names(samples)}
    return {name: image_auroc(labels[rows], scores[rows]) for name, rows in chosen.items()}


def brightness_auroc(samples: Sequence[Sample], brightness: NDArray[np.float64]) -> float | None:
    """Image AUROC that mean brightness (N,) alone reaches, in whichever direction is better, in [0.5, 1]."""
    labels = _labels(samples)
    if not _has_both(labels):
        return None
    auroc = image_auroc(labels, brightness)
    return max(auroc, 1.0 - auroc)


def decide(samples: Sequence[Sample], scores: NDArray[np.float64], threshold: Threshold) -> Decisions:
    """Count false alarms and detections of scores (N,) at a threshold."""
    called = scores > threshold.value
    labels, types = _labels(samples), _types(samples)
    return Decisions(
        threshold=threshold,
        false_alarms=_rate(called[~labels]),
        detections=_rate(called[labels]),
        detections_by_type={name: Rate.of(called[labels & (types == name)]) for name in _defect_names(samples)},
    )


def _labels(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    return np.array([sample.is_defective for sample in samples], np.bool_)


def _types(samples: Sequence[Sample]) -> NDArray[np.str_]:
    return np.array([sample.defect_type for sample in samples], np.str_)


def _defect_names(samples: Sequence[Sample]) -> list[str]:
    return sorted({sample.defect_type for sample in samples if sample.is_defective})


def _has_both(labels: NDArray[np.bool_]) -> bool:
    return bool(labels.any() and not labels.all())


def _rate(called: NDArray[np.bool_]) -> Rate | None:
    return Rate.of(called) if called.size else None
