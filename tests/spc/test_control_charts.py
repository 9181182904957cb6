"""Control charts and run rules against values computed by hand, and against published examples."""

from __future__ import annotations

import numpy as np
import pytest

from edge_ad.spc.control_charts import Base, ewma_chart, mean_base, mean_chart, share_base, share_chart
from edge_ad.spc.exact_limits import exact_share_chart, share_bound
from edge_ad.spc.run_rules import NELSON, WESTERN_ELECTRIC, find_signals

_NAN = float("nan")


def _found(z: list[float], *, nelson: bool) -> list[tuple[int, int]]:
    rules = NELSON if nelson else WESTERN_ELECTRIC
    return [(signal.index, signal.rule.number) for signal in find_signals(np.array(z), rules)]


def test_a_p_chart_has_the_limits_of_the_size_of_each_subgroup() -> None:
    base = share_base(np.array([2, 3, 5]), np.array([100, 100, 300]))  # 10 of 500: p̄ = 0.02, √(p̄q̄) = 0.14
    chart = share_chart(np.array([1, 30]), np.array([49, 400]), base, WESTERN_ELECTRIC)
    assert base.centre == pytest.approx(0.02)
    assert base.sigma == pytest.approx(0.14)
    np.testing.assert_allclose(chart.upper, [0.02 + 3 * 0.14 / 7, 0.02 + 3 * 0.14 / 20])
    np.testing.assert_allclose(chart.lower, [0.0, 0.0])  # below nothing there is no share
    assert [(signal.index, signal.rule.number) for signal in chart.signals] == [(1, 1)]


def test_subgroups_that_differ_more_than_chance_widen_the_limits() -> None:
    defective, sizes = np.array([10, 30, 10, 30]), np.array([100, 100, 100, 100])
    base = share_base(defective, sizes)  # p̄ = 0.2, σ = 0.04: z = −2.5, 2.5, … and a mean moving range of 5
    assert base.dispersion == pytest.approx(5 / 1.12838, rel=1e-5)
    assert base.outside == 0
    narrow, wide = (share_chart(defective, sizes, base, NELSON, with_dispersion=each) for each in (False, True))
    np.testing.assert_allclose(narrow.upper, 0.32)
    np.testing.assert_allclose(wide.sigma, 0.04 * 5 / 1.12838, rtol=1e-5)


@pytest.mark.parametrize(
    ("base_frames", "size", "most"),
    [
        (90, 10, 2),  # 10/100 = 0.1; · 9/99 = 0.0091; · 8/98 = 0.00074
        (10_000, 100, 1),  # 100/10100 = 0.0099; · 99/10099 = 0.000097
        (10_000, 10, 0),  # 10/10010 = 0.00100
        (90, 2, 1),  # 2/92 = 0.0217; · 1/91 = 0.00024
        (10, 2, 2),  # 2/12 = 0.167; · 1/11 = 0.0152; there are no more
        (1, 10**8, 99_865_011),  # (10^8 + 1 − x)/(10^8 + 1) is 0.00134989803 from x = 99,865,011.2 on; not one by one
    ],
)
def test_a_base_without_ng_limits_what_chance_brings_into_one_subgroup(base_frames: int, size: int, most: int) -> None:
    counts = np.array([0, most, min(most + 1, size)])
    chart = exact_share_chart(counts, np.full(3, size), base_frames, WESTERN_ELECTRIC[0])
    np.testing.assert_allclose(chart.upper, most / size)
    assert [signal.index for signal in chart.signals] == ([2] if most < size else [])


def test_a_share_of_which_none_was_seen_is_bounded_by_the_rule_of_three() -> None:
    assert share_bound(10) == pytest.approx(0.2589, abs=5e-5)  # 1 − 0.05^0.1
    assert share_bound(1000) == pytest.approx(3 / 1000, rel=3e-3)


def test_an_x_bar_chart_pools_what_varies_inside_subgroups() -> None:
    sizes = np.array([3, 3, 1])
    base = mean_base(np.array([10.0, 12.0, 14.0]), np.array([1.0, 3.0, _NAN]), sizes)
    assert base is not None
    assert base.centre == pytest.approx((30 + 36 + 14) / 7)
    assert base.sigma == pytest.approx(np.sqrt(2.0) / 0.9400, rel=1e-4)  # c₄(5) = 0.9400
    chart = mean_chart(np.array([11.0, _NAN]), np.array([4, 0]), base, WESTERN_ELECTRIC)
    assert chart.upper[0] == pytest.approx(base.centre + 3 * base.sigma / 2)
    assert np.isnan(chart.values[1])
    assert np.isnan(chart.upper[1])
    assert mean_base(np.array([1.0]), np.array([_NAN]), np.array([1])) is None


def test_the_ewma_is_that_of_the_nist_handbook() -> None:
    # NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.4: EWMA₀ = 50, s = 2.0539, λ = 0.3, one value each.
    values = [52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5]
    values += [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
    expected = [50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33]
    expected += [50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99]
    base = Base(50.0, 2.0539, 1.0, 20, 0, 20)
    chart = ewma_chart(np.array(values), np.ones(20, np.int64), base, WESTERN_ELECTRIC, weight=0.3)
    np.testing.assert_allclose(chart.values, expected, atol=0.0051)
    assert chart.upper[-1] == pytest.approx(52.5884, abs=2e-3)
    assert chart.lower[-1] == pytest.approx(47.4115, abs=2e-3)
    assert chart.upper[0] == pytest.approx(50 + 3 * 0.3 * 2.0539)
    assert chart.signals == ()


def test_an_ewma_passes_over_a_subgroup_without_scores_and_signals_a_small_shift() -> None:
    base, ones = Base(0.0, 1.0, 1.0, 20, 0, 20), np.ones(12, np.int64)
    shifted = np.array([0.0, _NAN] + [1.3] * 10)
    chart = ewma_chart(shifted, ones, base, NELSON, weight=0.2)
    assert np.isnan(chart.values[1])
    assert chart.values[2] == pytest.approx(0.26)
    # Six: 1.3 (1 − 0.8⁶) = 0.959 below 3 √((1 − 0.64⁷)/9) = 0.978. Seven: 1.027 above 3 √((1 − 0.64⁸)/9) = 0.986.
    assert chart.signals[0].index == 8
    assert {signal.rule.number for signal in chart.signals} == {1}


def test_each_western_electric_rule_is_found_at_the_point_that_completes_it() -> None:
    assert _found([0.0, 3.1, 0.0, -3.1], nelson=False) == [(1, 1), (3, 1)]
    assert _found([2.1, 0.0, 2.1], nelson=False) == [(2, 2)]
    assert _found([2.1, 0.0, -2.1], nelson=False) == []  # not on one side
    assert _found([-1.1, -1.1, 0.5, -1.1, -1.1], nelson=False) == [(4, 3)]
    assert _found([0.1] * 9, nelson=False) == [(7, 4), (8, 4)]


def test_each_nelson_rule_is_found_at_the_point_that_completes_it() -> None:
    turning = [(-1) ** place * 1.5 for place in range(14)]
    assert _found([0.0, -3.5], nelson=True) == [(1, 1)]
    assert _found([-0.1] * 9, nelson=True) == [(8, 2)]
    assert _found([-0.9, -0.5, -0.1, 0.1, 0.5, 0.9], nelson=True) == [(5, 3)]
    assert (13, 4) in _found(turning, nelson=True)
    assert _found([-2.5, 0.0, -2.5], nelson=True) == [(2, 5)]
    assert _found([1.5, 1.5, -0.5, 1.5, 1.5], nelson=True) == [(4, 6)]
    assert _found([0.9, 0.2, -0.4] * 5, nelson=True) == [(14, 7)]
    assert _found(turning[:8], nelson=True) == [(7, 8)]


def test_the_first_points_complete_a_pattern_that_needs_no_more_of_them() -> None:
    assert _found([2.1, 2.1, 0.0], nelson=False) == [(1, 2)]
    assert _found([-1.1] * 4, nelson=False) == [(3, 3)]
    assert _found([2.5, 2.5], nelson=True) == [(1, 5)]
    assert _found([0.1] * 7, nelson=False) == []


def test_subgroups_without_any_spread_that_differ_are_beyond_their_limits() -> None:
    base = mean_base(np.array([0.5, 0.5, 0.8]), np.zeros(3), np.array([10, 10, 10]))
    assert base is not None
    assert (base.sigma, base.outside) == (0.0, 3)  # none of them is the mean


def test_a_point_without_a_value_is_part_of_no_pattern() -> None:
    assert _found([0.1] * 4 + [_NAN] + [0.1] * 4, nelson=False) == []
