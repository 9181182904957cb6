"""Two callables timed in turns."""

import time

from edge_ad.runtime.timing import compare


def test_the_ratio_is_that_of_the_two_times() -> None:
    comparison = compare(lambda: time.sleep(0.001), lambda: time.sleep(0.004), rounds=2, seconds=0.1)
    assert 2.0 < comparison.ratio_of_medians < 4.5
    assert comparison.ours.min_ms >= 1.0
    assert comparison.theirs.min_ms >= 4.0


def test_rounds_alternate_which_side_begins() -> None:
    calls: list[str] = []
    comparison = compare(lambda: calls.append("a"), lambda: calls.append("b"), rounds=4, seconds=0.004)
    blocks = [side for side, before in zip(calls, ["", *calls], strict=False) if side != before]
    # Warm-up a, b; then a b | b a | a b | b a, where neighbours of the same side join.
    assert blocks == ["a", "b", "a", "b", "a", "b", "a"]
    assert len(comparison.ratio_per_round) == 4


def test_every_round_is_measured_even_when_one_run_takes_longer_than_the_time() -> None:
    comparison = compare(lambda: time.sleep(0.002), lambda: time.sleep(0.002), rounds=3, seconds=0.001)
    assert comparison.ours.runs == 9
    assert comparison.theirs.runs == 9
