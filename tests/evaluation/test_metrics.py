"""Ranking metrics against scikit-learn and against the written-out definition of PRO."""

import time
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from edge_ad.errors import EdgeAdError
from edge_ad.evaluation.metrics import (
    MetricError,
    area_under,
    average_precision,
    image_auroc,
    pixel_auroc,
    pixel_auroc_and_pro,
    pixel_average_precision,
    pro,
    roc_curve,
)

# Few distinct values: ties within and across the classes are the rule, not the exception.
labelled_scores = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def random_maps(seed: int, count: int = 4, size: int = 16, levels: int | None = None):
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), bool)
    for mask in masks[1:]:
        for _ in range(generator.integers(1, 4)):
            row, column = generator.integers(0, size - 4, 2)
            height, width = generator.integers(1, 6, 2)
            mask[row : row + height, column : column + width] = True
    maps = (generator.normal(size=masks.shape) + masks).astype(np.float32)
    return masks, maps if levels is None else np.round(maps * levels).astype(np.float32)


def brute_force_pro(masks, maps, max_fpr):
    """The definition, threshold by threshold and region by region."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        overlaps = []
        for mask, hit in zip(masks, above, strict=True):
            count, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            overlaps += [hit[regions == region].mean() for region in range(1, count)]
        points.append((above[~masks].mean(), np.mean(overlaps)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < max_fpr and x1 > x0:
            end = min(x1, max_fpr)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / max_fpr


@settings(deadline=None)
@given(labelled_scores)
def test_auroc_and_average_precision_agree_with_scikit_learn_with_ties(rows):
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], float)
    assert image_auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 2])
def test_pixel_metrics_agree_with_scikit_learn(levels):
    masks, maps = random_maps(1, levels=levels)
    assert pixel_auroc(masks, maps) == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    expected = average_precision_score(masks.ravel(), maps.ravel())
    assert pixel_average_precision(masks, maps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [None, 1, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pro_agrees_with_its_definition(seed, levels, max_fpr):
    masks, maps = random_maps(seed, levels=levels)
    assert pro(masks, maps, max_fpr) == pytest.approx(brute_force_pro(masks, maps, max_fpr), abs=1e-12)


@pytest.mark.parametrize("levels", [5, 1000])
def test_pixel_auroc_and_pro_together_are_those_of_each_alone(levels):
    rng = np.random.default_rng(levels)
    maps = rng.integers(0, levels, (4, 20, 30)).astype(np.float32)
    masks = rng.random(maps.shape) < 0.1
    assert pixel_auroc_and_pro(masks, maps) == (pixel_auroc(masks, maps), pro(masks, maps))
    with pytest.raises(MetricError):
        pixel_auroc_and_pro(masks[0], maps[0])


def test_pro_counts_a_small_region_as_much_as_a_large_one():
    masks = np.zeros((1, 32, 32), bool)
    masks[0, 2, 2] = masks[0, 10:30, 10:30] = True
    only_the_large_one = np.where(masks, 1.0, 0.5).astype(np.float32)
    only_the_large_one[0, 2, 2] = 0.0
    assert pro(masks, only_the_large_one) == pytest.approx(0.5)
    assert pixel_auroc(masks, only_the_large_one) > 0.99


def test_diagonal_neighbours_are_one_region():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, 1, 1] = masks[0, 2, 2] = masks[0, 6, 6] = True
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 6, 6] = 1.0
    # One of two regions is found before any false positive; then everything at once.
    assert pro(masks, maps, 1.0) == pytest.approx(0.75)


def test_a_perfect_map_gets_one_and_an_inverted_map_gets_nothing():
    masks, _ = random_maps(3)
    assert pro(masks, masks.astype(np.float32)) == pytest.approx(1.0)
    assert pro(masks, -masks.astype(np.float32)) == pytest.approx(0.0, abs=1e-12)
    assert pixel_auroc(masks, -masks.astype(np.float32)) == 0.0


def test_a_defective_image_with_an_empty_mask_adds_negative_pixels_only():
    masks, maps = random_maps(4)
    masks[2] = False
    assert pro(masks, maps) == pytest.approx(brute_force_pro(masks, maps, 0.3), abs=1e-12)


@pytest.mark.parametrize("metric", [image_auroc, average_precision])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(metric, bad):
    with pytest.raises(MetricError, match="1 of 4 scores"):
        metric(np.array([False, True, False, True]), np.array([0.1, bad, 0.3, 0.4]))


@pytest.mark.parametrize(("label", "word"), [(True, "defective"), (False, "good")])
@pytest.mark.parametrize("metric", [pixel_auroc, pixel_average_precision, pro])
def test_one_class_alone_is_refused_and_named(metric, label, word):
    with pytest.raises(EdgeAdError, match=f"are {word}"):
        metric(np.full((1, 4, 4), label), np.zeros((1, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        (np.array([0, 1]), np.array([0.0, 1.0])),
        (np.array([False, True]), np.array([0.0, 1.0, 2.0])),
        (np.zeros(0, bool), np.zeros(0)),
    ],
)
def test_labels_of_the_wrong_kind_or_shape_are_refused(labels, scores):
    with pytest.raises(MetricError):
        image_auroc(labels, scores)


@pytest.mark.parametrize("max_fpr", [0.0, -0.1, 1.01, np.nan])
def test_a_false_positive_rate_outside_0_to_1_is_refused(max_fpr):
    with pytest.raises(MetricError, match="false positive rate"):
        area_under(roc_curve(np.array([0.0]), np.array([1.0])), max_fpr)


def test_half_precision_and_integer_scores_are_ranked_exactly():
    labels = np.array([False, True, False, True])
    assert image_auroc(labels, np.array([1, 3, 2, 4])) == 1.0
    assert image_auroc(labels, np.array([1, 1, 2, 2], np.float16)) == 0.5


def test_metrics_do_not_change_their_inputs():
    masks, maps = random_maps(5)
    before = masks.copy(), maps.copy()
    for metric in (pixel_auroc, pixel_average_precision, pro):
        metric(masks, maps)
    np.testing.assert_array_equal(masks, before[0])
    np.testing.assert_array_equal(maps, before[1])


@pytest.mark.slow
def test_two_hundred_maps_of_256_by_256_take_seconds():
    masks, maps = random_maps(6, count=200, size=256)
    start = time.process_time()
    for metric in (pixel_auroc, pixel_average_precision, pro):
        metric(masks, maps)
    assert time.process_time() - start < 30.0
