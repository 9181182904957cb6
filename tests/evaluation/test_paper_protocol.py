"""PRO by the papers' protocol, against a slow computation written from its description."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.data.samples import Sample
from edge_ad.evaluation.metrics import pro
from edge_ad.evaluation.paper_protocol import covered_entirely, paper_metrics, paper_pro
from edge_ad.photo_spec import PhotoSpec


def _slow(masks: NDArray[np.bool_], maps: NDArray[np.float32], regions: list[list[list[tuple[int, int]]]]) -> float:
    low, high = maps.min(), maps.max()
    points = []
    for step in range(200):
        called = maps > low + step * (high - low) / 200
        false = sum(bool(c) and not bool(m) for c, m in zip(called.flat, masks.flat, strict=True)) / (~masks).sum()
        shares = []
        for image, own in zip(called, regions, strict=True):
            for region in own:
                hits = 0
                for y, x in region:
                    near = image[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
                    hits += bool(near.any())
                shares.append(hits / len(region))
        if false < 0.3:
            points.append((float(false), float(np.mean(shares))))
    points.reverse()  # by falling thresholds: among equal rates too
    most = points[-1][0]
    pairs = itertools.pairwise(points)
    return sum((b[0] - a[0]) / most * (a[1] + b[1]) / 2 for a, b in pairs)


def test_it_is_what_the_papers_code_computes() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 16, 16), np.bool_)
    masks[0, 2:6, 3:7], masks[0, 10:13, 10:12], masks[1, 5:8, 5:9] = True, True, True
    regions = [
        [[(y, x) for y in range(2, 6) for x in range(3, 7)], [(y, x) for y in range(10, 13) for x in range(10, 12)]],
        [[(y, x) for y in range(5, 8) for x in range(5, 9)]],
    ]
    maps = (rng.random((2, 16, 16)) + 0.6 * masks).astype(np.float32)
    assert paper_pro(masks, maps) == pytest.approx(_slow(masks, maps, regions), abs=1e-6)
    assert paper_pro(masks, maps) > pro(masks, maps)


def test_without_regions_or_without_a_range_there_is_none() -> None:
    assert math.isnan(paper_pro(np.zeros((1, 8, 8), np.bool_), np.ones((1, 8, 8), np.float32)))
    masks = np.zeros((1, 8, 8), np.bool_)
    masks[0, 2:4, 2:4] = True
    assert math.isnan(paper_pro(masks, np.ones((1, 8, 8), np.float32)))


def _covered_slowly(mask: NDArray[np.bool_], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixel by pixel: all that lies nearer to the middle of a pixel of the result than its triangle is wide."""
    result = np.zeros(size_hw, np.bool_)
    for row, column in np.ndindex(*size_hw):
        inside = []
        for place, length, size in zip((row, column), mask.shape, size_hw, strict=True):
            scale = length / size
            middle, reach = (place + 0.5) * scale, max(scale, 1.0)
            inside.append([at for at in range(length) if middle - reach < at + 0.5 < middle + reach])
        result[row, column] = mask[np.ix_(*inside)].all()
    return result


@pytest.mark.parametrize("size_hw", [(8, 8), (6, 9), (17, 13), (20, 30)])
def test_only_pixels_that_a_mask_covers_entirely_are_left_of_it(size_hw: tuple[int, int]) -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[3:15, 4:22] = True
    found = covered_entirely(mask, size_hw)
    assert np.array_equal(found, _covered_slowly(mask, size_hw))
    if size_hw == mask.shape:
        assert np.array_equal(found, mask)


def test_the_papers_do_not_count_what_lies_beside_the_crop(tmp_path: Path) -> None:
    """A photo of 64×32 whose middle square is seen, with a defect in it and one beside it."""
    mask = np.zeros((32, 64), np.uint8)
    mask[8:16, 24:32] = mask[8:16, 2:10] = 255
    path = tmp_path / "mask.png"
    assert cv2.imwrite(str(path), mask)
    samples = [Sample(tmp_path / "a.png", True, "dent", path), Sample(tmp_path / "b.png", False, "good", None)]
    maps = np.zeros((2, 32, 32), np.float32)
    maps[0, 8:16, 8:16] = 1.0
    found = paper_metrics(samples, np.array([1.0, 0.0]), maps, PhotoSpec(geometry="crop"))
    assert [found[name] for name in ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap")] == [1.0] * 4
