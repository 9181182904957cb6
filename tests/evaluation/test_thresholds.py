"""Thresholds keep their promise about false alarms, and say what they promise."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from edge_ad.errors import DataError, EdgeAdError, UsageError
from edge_ad.evaluation.thresholds import (
    binomial_cdf,
    conformal_rank,
    fit_threshold,
    good_images_needed,
    rate_upper_bound,
)

finite_scores = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300)
rates = st.floats(0.001, 0.9)


@given(st.integers(1, 3000), st.data(), st.floats(1e-6, 1 - 1e-6))
def test_the_binomial_tail_agrees_with_scipy(trials, data, probability):
    successes = data.draw(st.integers(0, trials))
    expected = stats.binom.cdf(successes, trials, probability)
    assert binomial_cdf(successes, trials, probability) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_binomial_tail_at_the_ends(probability, expected):
    assert binomial_cdf(2, 5, probability) == expected
    assert binomial_cdf(5, 5, probability) == 1.0


@given(st.integers(1, 3000), st.data(), st.floats(0.5, 0.999))
def test_the_rate_bound_is_the_beta_quantile(trials, data, confidence):
    successes = data.draw(st.integers(0, trials - 1))
    expected = stats.beta.ppf(confidence, successes + 1, trials - successes)
    assert rate_upper_bound(successes, trials, confidence) == pytest.approx(expected, rel=1e-6)


def test_the_rate_bound_of_no_alarm_is_the_known_closed_form():
    assert rate_upper_bound(0, 50, 0.95) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert rate_upper_bound(7, 7, 0.95) == 1.0


@pytest.mark.parametrize(("successes", "trials", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9), (1, 5, 1.0)])
def test_a_rate_outside_its_range_is_refused(successes, trials, confidence):
    with pytest.raises(UsageError):
        rate_upper_bound(successes, trials, confidence)


@pytest.mark.parametrize(
    ("count", "rate", "rank"),
    [(99, 0.01, 99), (98, 0.01, 99), (100, 0.01, 100), (199, 0.01, 198), (9, 0.1, 9), (19, 0.05, 19), (9, 0.3, 7)],
)
def test_the_rank_is_the_conformal_one_also_where_the_rate_is_no_binary_fraction(count, rate, rank):
    assert conformal_rank(count, rate) == rank


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.07, 0.003])
def test_the_images_needed_are_the_fewest_that_allow_the_rate(rate):
    needed = good_images_needed(rate)
    assert conformal_rank(needed, rate) <= needed
    assert conformal_rank(needed - 1, rate) > needed - 1


@given(finite_scores, rates)
def test_no_more_good_images_are_above_the_threshold_than_asked(scores, rate):
    threshold = fit_threshold(np.array(scores), false_alarm_rate=rate)
    above = sum(score > threshold.value for score in scores)
    assert above <= rate * (len(scores) + 1) + 1e-6
    assert threshold.value in scores
    assert threshold.good_images == len(scores)


@given(finite_scores, rates)
def test_the_bound_is_never_below_the_sample_rate(scores, rate):
    threshold = fit_threshold(np.array(scores), false_alarm_rate=rate)
    assert sum(score > threshold.value for score in scores) / len(scores) <= threshold.false_alarm_bound <= 1


@given(finite_scores, rates, rates)
def test_a_lower_rate_never_lowers_the_threshold(scores, first, second):
    low, high = sorted((first, second))
    strict, loose = (fit_threshold(np.array(scores), false_alarm_rate=rate) for rate in (low, high))
    assert strict.value >= loose.value
    assert strict.false_alarm_bound <= loose.false_alarm_bound


@given(finite_scores, st.randoms())
def test_the_order_of_the_images_does_not_matter(scores, random):
    shuffled = random.sample(scores, len(scores))
    assert fit_threshold(np.array(scores)) == fit_threshold(np.array(shuffled))


@given(finite_scores, st.floats(0.125, 8.0))
def test_the_threshold_scales_with_the_scores(scores, factor):
    values = np.array(scores)
    assume(np.isfinite(values * factor).all())
    assert fit_threshold(values * factor).value == pytest.approx(fit_threshold(values).value * factor)


def test_too_few_images_use_the_largest_and_say_so():
    threshold = fit_threshold(np.arange(30.0), false_alarm_rate=0.01)
    assert threshold.value == 29.0
    assert "largest of 30" in threshold.rule
    assert "99 are needed" in threshold.rule
    assert threshold.false_alarm_bound == pytest.approx(1 - 0.05 ** (1 / 30))


def test_enough_images_use_the_quantile_and_say_which():
    threshold = fit_threshold(np.arange(1.0, 200.0), false_alarm_rate=0.01)
    assert threshold.value == 198.0
    assert "score 198 of 199" in threshold.rule


@pytest.mark.parametrize(("count", "rate"), [(30, 0.01), (99, 0.05), (200, 0.01)])
def test_the_promises_hold_in_simulation(count, rate):
    draws = 4000
    scores = np.random.default_rng(count).uniform(size=(draws, count))
    used = min(conformal_rank(count, rate), count)
    # For uniform scores the true false-alarm rate of a threshold t is 1 - t.
    true_rates = 1.0 - np.sort(scores, axis=1)[:, used - 1]
    threshold = fit_threshold(scores[0], false_alarm_rate=rate)
    assert threshold.value == pytest.approx(1.0 - true_rates[0])
    broken = (true_rates > threshold.false_alarm_bound).mean()
    # 5 % within four standard errors: the bound holds, and is no looser than it must be.
    assert broken == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / draws))
    expected_rate = max(rate, 1 / (count + 1))
    assert true_rates.mean() <= expected_rate + 4 * true_rates.std() / np.sqrt(draws)


def test_the_bound_holds_for_scores_with_ties():
    generator = np.random.default_rng(7)
    levels = 12
    broken = 0
    for _ in range(400):
        threshold = fit_threshold(generator.integers(0, levels, 60), false_alarm_rate=0.1)
        broken += (levels - 1 - threshold.value) / levels > threshold.false_alarm_bound
    assert broken / 400 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, np.nan])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(UsageError, match="false-alarm rate"):
        fit_threshold(np.arange(5.0), false_alarm_rate=rate)


def test_no_scores_and_broken_scores_are_refused():
    with pytest.raises(DataError, match="no good images"):
        fit_threshold(np.array([]))
    with pytest.raises(EdgeAdError, match="NaN or infinite"):
        fit_threshold(np.array([1.0, np.nan]))


@settings(max_examples=20)
@given(st.integers(1, 5000))
def test_the_bound_shrinks_as_images_are_added(count):
    assert rate_upper_bound(0, count + 1, 0.95) < rate_upper_bound(0, count, 0.95)
