"""PRO by the papers' protocol, against a slow computation written from its description."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.suites.paper_pro import paper_pro
from edge_ad.evaluation.metrics import pro


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
