from __future__ import annotations

import pytest

from edge_ad.errors import UsageError
from edge_ad.training.schedules import SCHEDULES, learning_rate_scale


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_stays_between_zero_and_one(schedule: str) -> None:
    scales = [learning_rate_scale(schedule, step / 700) for step in range(700)]
    assert min(scales) >= 0
    assert max(scales) == pytest.approx(1, abs=1e-3)


def test_fixed_never_changes() -> None:
    assert {learning_rate_scale("fixed", step / 10) for step in range(10)} == {1.0}


def test_warm_up_rises_for_a_tenth_and_stays() -> None:
    assert learning_rate_scale("warm-up", 0.0) == pytest.approx(0.04)
    assert learning_rate_scale("warm-up", 0.05) == pytest.approx(0.52)
    assert learning_rate_scale("warm-up", 0.5) == 1.0


def test_a_long_warm_up_is_followed_by_two_steps() -> None:
    scales = [learning_rate_scale("warm-up-step", progress) for progress in (0.0, 0.06, 0.5, 0.8, 0.95)]
    assert scales == pytest.approx([0.1, 0.55, 1.0, 0.33, 0.1089])


def test_one_cycle_ends_near_zero() -> None:
    assert learning_rate_scale("one-cycle", 0.1) == pytest.approx(1)
    assert learning_rate_scale("one-cycle", 0.55) == pytest.approx(0.5)
    assert learning_rate_scale("one-cycle", 0.999) < 0.001


def test_sgdr_restarts_at_one_and_three_sevenths() -> None:
    for restart in (0.0, 1 / 7, 3 / 7):
        assert learning_rate_scale("sgdr", restart + 1e-9) == pytest.approx(1)
        assert restart == 0 or learning_rate_scale("sgdr", restart - 1e-6) < 1e-3


def test_an_unknown_schedule_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="one-cycle"):
        learning_rate_scale("linear", 0.5)


def test_step_falls_to_a_fifth_after_80_and_90_percent() -> None:
    scales = [learning_rate_scale("step", progress) for progress in (0.0, 0.79, 0.8, 0.89, 0.9, 0.99)]
    assert scales == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
