"""Thresholds from cross-fitted scores: ranks by hand, what blocks cost, and coverage on simulated scores."""

import numpy as np
import pytest

from edge_ad.errors import UsageError
from edge_ad.evaluation.cross_fitted_threshold import (
    effective_count,
    expected_rate_bound,
    fit_cross_fitted_threshold,
    stated_rate,
)
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.evaluation.metrics import MetricError
from edge_ad.evaluation.thresholds import fit_threshold


@pytest.mark.parametrize(
    ("count", "rate", "rank"),
    [(99, 0.01, 99), (199, 0.01, 198), (100, 0.05, 96), (19, 0.05, 19), (39, 0.05, 38), (9, 0.2, 8)],
)
def test_the_threshold_is_the_score_of_the_conformal_rank(count, rate, rank):
    values = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))  # of rank k: the value k
    threshold = fit_cross_fitted_threshold(values, [index % 3 for index in range(count)], false_alarm_rate=rate)
    assert threshold.value == rank
    assert threshold.good_images == count


def test_too_few_photos_give_the_largest_score_and_do_not_promise_the_rate():
    threshold = fit_cross_fitted_threshold(np.arange(30.0), [0, 1, 2] * 10)
    assert threshold.value == 29
    assert "99 different photos are needed" in threshold.rule
    assert f"at most {2 / 31:.3g}" in threshold.rule


def test_photos_that_show_the_same_thing_share_a_vote():
    # Nine of ten scores are of one thing: two votes, and the conformal rank of 2 votes at 0.5 is 2.
    scores, groups = [5.0] + [1.0] * 9, [0] + [1] * 9
    threshold = fit_cross_fitted_threshold(np.array(scores), [0, 1] * 5, groups, false_alarm_rate=0.5)
    assert threshold.good_images == 2
    assert threshold.value == 5.0
    assert fit_cross_fitted_threshold(np.array(scores), [0, 1] * 5, false_alarm_rate=0.5).value == 1.0


def test_blocks_that_do_not_differ_cost_nothing():
    # Ranks 0 to 7 in pairs of equal sums: no variance between blocks.
    assert effective_count([0, 7, 1, 6, 2, 5, 3, 4], [0, 0, 1, 1, 2, 2, 3, 3]) == 8


def test_blocks_that_differ_wholly_count_as_one_photo_each():
    found = effective_count([1, 2, 11, 12, 21, 22, 31, 32], [0, 0, 1, 1, 2, 2, 3, 3])
    # Ranks: within 0.5 each, between 2·((-3)² + (-1)² + 1² + 3²)/3 = 40/3; ρ = (40/3 - 1/2)/(40/3 + 1/2) = 77/83.
    assert found == pytest.approx(8 / (1 + 77 / 83))
    assert effective_count([1, 1], [0, 1]) == 2


def test_the_stated_rate_is_twice_what_the_photos_carry():
    assert expected_rate_bound(0.05, 1000) == pytest.approx(0.1)
    assert expected_rate_bound(0.01, 39) == pytest.approx(2 / 40)
    assert expected_rate_bound(0.7, 10) == 1


def test_no_less_is_stated_than_the_blocks_have_shown():
    # At 0.5 the threshold of the other block is its median: 3 of {1, 3, 5} and 30 of {10, 30, 50}. One block is wholly
    # above the other's and the other wholly below: half of all, less than 2 · 0.5.
    assert stated_rate([1, 3, 5, 10, 30, 50], [0, 0, 0, 1, 1, 1], false_alarm_rate=0.5) == 1
    # A block that is like the others, but for 5 of its 25 photos, which are above all: 5 of 100 are.
    like, odd = np.arange(75.0), np.concatenate([np.arange(20) * 3.25 + 0.5, np.arange(100.0, 105.0)])
    scores, blocks = np.concatenate([like, odd]), [*(np.arange(75) % 3).tolist(), *[3] * 25]
    assert expected_rate_bound(0.02, effective_count(scores, blocks)) < 0.05
    assert stated_rate(scores, blocks, false_alarm_rate=0.02) == pytest.approx(0.05)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
def test_exchangeable_scores_are_covered(rate):
    rng, alarms, blocks = np.random.default_rng(1), [], np.repeat(np.arange(5), 30).tolist()
    for _ in range(400):
        scores = rng.normal(size=350)
        threshold = fit_cross_fitted_threshold(scores[:150], blocks, false_alarm_rate=rate)
        alarms.append((scores[150:] > threshold.value).mean())
    error = np.std(alarms) / 20
    assert np.mean(alarms) <= rate + 3 * error
    assert np.mean(alarms) >= rate - 1 / 151 - 3 * error  # and nothing is given away


def test_scores_that_differ_between_blocks_stay_within_the_stated_rate():
    rng, alarms, stated, below = np.random.default_rng(2), [], [], []
    blocks = np.repeat(np.arange(5), 30).tolist()
    for _ in range(400):
        scores = rng.normal(size=180) + np.repeat(rng.normal(size=6), 30)
        threshold = fit_cross_fitted_threshold(scores[:150], blocks, false_alarm_rate=0.05)
        alarms.append((scores[150:] > threshold.value).mean())
        stated.append(expected_rate_bound(0.05, effective_count(scores[:150], blocks)))
        below.append(alarms[-1] <= threshold.false_alarm_bound)
    assert np.mean(alarms) > 0.07  # the rate that was asked for is not kept
    assert np.mean(alarms) <= np.mean(stated)
    assert np.mean(below) >= 0.85


def test_wrong_input_is_refused():
    with pytest.raises(MetricError):
        fit_cross_fitted_threshold(np.array([1.0, np.nan]), [0, 1])
    with pytest.raises(UsageError, match="3 scores have 2 blocks"):
        fit_cross_fitted_threshold(np.arange(3.0), [0, 1])
    with pytest.raises(UsageError, match="3 scores have 1 groups"):
        fit_cross_fitted_threshold(np.arange(3.0), [0, 1, 1], [0])
    with pytest.raises(UsageError, match="false-alarm rate"):
        fit_cross_fitted_threshold(np.arange(3.0), [0, 1, 1], false_alarm_rate=0)


def good(scores, blocks, rate=0.2):
    return GoodScores(rate, tuple(scores), tuple(blocks), tuple(range(len(scores))), is_block=True)


def test_an_engine_on_another_scale_gets_its_own_threshold():
    scores, blocks = [1.0, 3.0, 2.0, 4.0, 6.0, 5.0, 7.0, 8.0, 10.0], [0, 0, 1, 1, 1, 2, 2, 2, 2]
    plain = good(scores, blocks).threshold([1.0, 3.0])
    assert plain.value == 8.0  # rank 8 of 9
    assert good(scores, blocks).threshold([2.0, 6.0]).value == 16.0


def test_the_engines_own_scores_count_where_it_has_seen_the_photos():
    threshold = good([1.0, 9.0, 2.0, 3.0], [0, 0, 1, 1], rate=0.01).threshold([2.0, 8.0])
    assert threshold.value == 8.0  # the largest: not the 9 of torch


def test_scores_of_either_sign_are_shifted():
    assert good([-2.0, 0.0, 5.0, -1.0], [0, 0, 1, 1], rate=0.01).threshold([-1.0, 1.0]).value == 6.0


def test_without_folds_the_threshold_is_that_of_the_held_out_photos():
    own = np.arange(20.0)
    assert GoodScores().threshold(own) == fit_threshold(own)
    of_block = GoodScores(is_block=True).threshold(own)
    assert of_block.value == fit_threshold(own).value
    assert "one held-out block" in of_block.rule
    assert GoodScores(0.2).threshold(own) == fit_threshold(own, false_alarm_rate=0.2)


def test_scores_of_other_photos_are_refused():
    with pytest.raises(UsageError, match="3 scores were given of 2 held-out photos"):
        good([1.0, 2.0, 3.0], [0, 0, 1]).threshold([1.0, 2.0, 3.0])
