"""The drift monitor: silent on noise that stays, and in time on a slow rise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_ad.streaming.verdicts import Drift, DriftMonitor, FailureMonitor, PartObserver, PartRule
from tests.streaming.results import make_result

_Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _normal(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    return chance.normal(10, 1, count)


def _long_tailed(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    return chance.gamma(3, 1, count)


def _neighbours_alike(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """A first-order autoregression, 0.8: ten neighbouring frames of a video see nearly the same."""
    steps = chance.normal(0, 0.6, count)
    return 10 + np.array(list(accumulate(steps.tolist(), lambda value, step: 0.8 * value + step)))


_NOISES = [_normal, _long_tailed, _neighbours_alike]


def _reports(scores: Iterable[float], threshold: float) -> list[tuple[int, Drift]]:
    monitor = DriftMonitor()
    found = ((index, monitor.update(score, threshold)) for index, score in enumerate(scores))
    return [(index, drift) for index, drift in found if drift is not None]


@pytest.mark.parametrize("noise", _NOISES)
def test_scores_that_stay_are_not_reported(noise: _Noise) -> None:
    reports = 0
    for seed in range(8):
        scores = noise(np.random.default_rng(seed), 25_000)
        threshold = float(np.quantile(scores, 0.99))
        reports += len(_reports(scores[scores <= threshold].tolist(), threshold))
    assert reports == 0  # in 200,000 good parts


@pytest.mark.parametrize("noise", _NOISES)
def test_a_slow_rise_is_reported_before_it_is_half_way_to_the_threshold(noise: _Noise) -> None:
    delays = []
    for seed in range(8):
        scores = noise(np.random.default_rng(100 + seed), 14_000)
        threshold, middle = float(np.quantile(scores, 0.99)), float(np.median(scores))
        rise = np.concatenate((np.zeros(2000), np.linspace(0, 1, 12_000))) * (threshold - middle)
        passed = np.flatnonzero(scores + rise <= threshold)  # what did not pass is nothing the monitor sees
        (index, drift), *_ = _reports((scores + rise)[passed].tolist(), threshold)
        assert not drift.is_over
        delays.append((passed[index] - 2000) / 12_000)
    assert min(delays) > 0
    assert max(delays) < 0.5
    assert np.median(delays) < 0.4


def test_one_rise_is_one_report_and_its_end_another() -> None:
    chance = np.random.default_rng(1)
    level = np.concatenate((np.zeros(3000), np.full(3000, 1.5), np.zeros(3000)))
    reports = _reports((10 + level + chance.normal(0, 0.5, 9000)).tolist(), 13.0)
    assert [drift.is_over for _, drift in reports] == [False, True]
    assert 3000 < reports[0][0] < 3300
    assert 6000 < reports[1][0] < 6600
    assert reports[0][1].baseline == pytest.approx(10, abs=0.1)
    assert 0 < reports[0][1].share < 1


def test_a_single_block_is_not_enough_and_a_rise_of_a_tenth_of_the_way_is_nobodys_business() -> None:
    chance = np.random.default_rng(2)
    burst = 10 + chance.normal(0, 0.1, 8000)
    burst[4000:4032] += 3
    assert _reports(burst.tolist(), 14.0) == []
    little = 10 + chance.normal(0, 0.1, 8000)
    little[4000:] += 0.3  # many spreads, but 0.3 of the 4 to the threshold
    assert _reports(little.tolist(), 14.0) == []


def test_scores_of_a_still_picture_make_no_drift_of_their_last_digit() -> None:
    scores = [10.0] * 3000 + [10.0 + 1e-9] * 3000 + [float("nan")] * 100
    assert _reports(scores, 14.0) == []


def test_only_what_passed_counts_and_another_bundle_starts_again() -> None:
    observer = PartObserver()
    chance = np.random.default_rng(3)
    kinds: list[str] = []
    for index, score in enumerate(chance.normal(0.5, 0.02, 2000).tolist()):
        kinds += [event.kind for event in observer.see(make_result(index, score))]
        kinds += [event.kind for event in observer.see(make_result(index, 5.0)) if event.kind != "ng"]
    for index, score in enumerate(chance.normal(0.8, 0.02, 2000).tolist()):  # other scores, but another bundle
        kinds += [event.kind for event in observer.see(make_result(index, score, bundle="b2"))]
    assert kinds == []
    for index, score in enumerate(chance.normal(0.9, 0.02, 500).tolist()):
        kinds += [event.kind for event in observer.see(make_result(index, score, bundle="b2"))]
    assert kinds == ["drift"]


def test_a_line_on_which_everything_fails_is_reported_without_a_baseline_and_once() -> None:
    observer = PartObserver(PartRule.parse("1/1"))
    events = [event for index in range(200) for event in observer.see(make_result(index, 5.0))]
    events += [event for index in range(200, 300) for event in observer.see(make_result(index, 0.5))]
    start, end = (event for event in events if event.kind not in ("ng", "part"))
    assert (start.kind, end.kind) == ("drift", "drift over")
    assert start.data["topic"] == end.data["topic"] == "most parts fail"
    assert (start.data["frame"], start.data["failed"], start.data["parts"]) == (17, 18, 18)  # 10 / log(1.8) = 17.01
    assert end.data["frame"] == 206  # (10 + log 1.8) / log 5 = 6.6


@pytest.mark.parametrize(("interval_s", "first"), [(1.0, 18), (1 / 30, 18 * 15), (0.0, 18 * 16)])
def test_frames_that_show_one_part_count_as_one(interval_s: float, first: int) -> None:
    observer = PartObserver()
    results = (make_result(index, 5.0, at=index * interval_s) for index in range(400))
    (start,) = (event for result in results for event in observer.see(result) if event.kind != "ng")
    assert (start.kind, start.data["failed"], start.data["parts"]) == ("drift", 18, 18)
    assert start.data["frame"] == pytest.approx(first, abs=18)  # a frame more in a group now and then, by rounding


@pytest.mark.parametrize("interval_s", [0.0, 1 / 30])
def test_some_defective_parts_that_rest_under_the_camera_are_no_abrupt_shift(interval_s: float) -> None:
    observer = PartObserver()
    scores = [5.0 if part % 8 in (1, 2, 3) else 0.5 for part in range(200) for _ in range(15)]
    results = (make_result(index, score, at=index * interval_s) for index, score in enumerate(scores))
    assert {event.kind for result in results for event in observer.see(result)} == {"ng"}


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_defects_as_they_come_are_no_abrupt_shift(share: float) -> None:
    chance, monitor = np.random.default_rng(4), FailureMonitor()
    assert all(monitor.update(0.0, is_defective=bool(fails)) is None for fails in chance.random(50_000) < share)


def test_a_shift_that_leaves_one_part_in_ten_passing_is_reported() -> None:
    delays = []
    for seed in range(50):
        chance, monitor = np.random.default_rng(seed), FailureMonitor()
        delays.append(next(n for n in range(1000) if monitor.update(0.0, is_defective=bool(chance.random() < 0.9))))
    assert np.median(delays) < 50


def test_a_short_burst_of_defects_is_not_reported_and_another_bundle_starts_again() -> None:
    observer = PartObserver(PartRule.parse("1/1"))
    scores = [0.5] * 50 + [5.0] * 12 + [0.5] * 50 + [5.0] * 17
    kinds = [event.kind for index, score in enumerate(scores) for event in observer.see(make_result(index, score))]
    kinds += [event.kind for index in range(17) for event in observer.see(make_result(index, 5.0, bundle="b2"))]
    assert "drift" not in kinds
