"""A slower build is found, noise alone is not."""

from typing import Any

import numpy as np
import pytest

from benchmarks.report.bootstrap import paired_ratio, unpaired_ratio
from benchmarks.report.comparison import Limits, compare_results
from benchmarks.report.rows import LatencyRow
from tests.benchmarks.report.noise import MACHINES, block_medians
from tests.benchmarks.report.rows import latency_document, latency_row

ROUNDS = 24
REPETITIONS = 20
DELAY = 1.10


def _in_turns(machine: str, factor: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Both builds in the same rounds of one session."""
    speed = MACHINES[machine](ROUNDS, rng)
    old = latency_row(block_medians(10.0, speed, rng), session="x")
    return latency_row(block_medians(10.0 * factor, speed, rng), session="x"), old


def _apart(machine: str, factor: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Two sessions, each with the machine of its own day, and a yardstick that feels the same machine."""
    rows = []
    for base, session in ((10.0 * factor, "new"), (10.0, "old")):
        speed = MACHINES[machine](ROUNDS, rng) * rng.uniform(0.85, 1.15)
        yardstick = block_medians(3.0, speed, rng)
        rows.append(latency_row(block_medians(base, speed, rng), yardstick, session=session))
    return rows[0], rows[1]


@pytest.mark.parametrize("how", [_in_turns, _apart])
@pytest.mark.parametrize("machine", list(MACHINES))
def test_ten_percent_is_flagged_and_noise_is_not_in_twenty_repetitions(how: Any, machine: str) -> None:
    rng = np.random.default_rng([ROUNDS, list(MACHINES).index(machine)])
    false_alarms = missed = 0
    for _ in range(REPETITIONS):
        false_alarms += bool(_regressions(*how(machine, 1.0, rng)))
        missed += not _regressions(*how(machine, DELAY, rng))
    assert (false_alarms, missed) == (0, 0)


def _regressions(new: Any, old: Any) -> list[Any]:
    return compare_results([new], [old], Limits(regression=0.05)).regressions


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(100):
        speed = MACHINES["swing"](ROUNDS, rng)
        new, old = (block_medians(base, speed, rng) for base in (10.3, 10.0))
        interval = paired_ratio(new, old, confidence=0.95)
        inside += interval.low <= 1.03 <= interval.high
    assert 0.88 <= inside / 100 <= 1.0


def test_the_same_numbers_give_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    new, old = rng.uniform(9, 11, 20).tolist(), rng.uniform(9, 11, 30).tolist()
    assert unpaired_ratio(new, old) == unpaired_ratio(new, old)
    with pytest.raises(ValueError, match="same length"):
        paired_ratio(new, old)


def test_rounds_are_paired_only_within_a_session() -> None:
    new, old = latency_row([11.0] * 8), latency_row([10.0] * 8)
    change = compare_results([new], [old], Limits()).changes[0]
    assert (change.how, change.verdict) == ("paired", "slower")
    other = latency_row([10.0] * 8, session="b")
    assert compare_results([new], [other], Limits()).changes[0].how == "yardstick"
    elsewhere = latency_row([10.0] * 8, session="b", machine={"yardstick": "numpy 2"})
    assert compare_results([new], [elsewhere], Limits()).changes[0].how == "plain"


@pytest.mark.parametrize("session", ["a", "b"])
def test_rounds_whose_time_was_stolen_do_not_count(session: str) -> None:
    def row(rounds_ms: list[float], stolen: list[float], session: str) -> Any:
        document = latency_document(rounds_ms, session=session)
        for turn, share in zip(document["rounds"], stolen, strict=True):
            turn["stolen"] = share
        return LatencyRow.model_validate(document)

    calm, busy = [0.0] * 6, [0.4] * 6
    old = row([10.0] * 12, calm + calm, "a")
    new = row([10.0] * 6 + [30.0] * 6, calm + busy, session)
    assert compare_results([new], [old], Limits()).changes[0].interval.high == pytest.approx(1.0)
    few = row([10.0] * 3 + [30.0] * 9, calm[:3] + [0.4] * 9, session)
    assert compare_results([few], [old], Limits()).changes[0].interval.ratio == pytest.approx(3.0)


def test_a_machine_that_is_slower_as_a_whole_is_no_regression() -> None:
    old = latency_row([10.0, 10.1, 9.9, 10.0, 10.2, 9.8], [3.0] * 6, session="old")
    new = latency_row([15.0, 15.2, 14.9, 15.1, 15.0, 14.8], [4.5] * 6, session="new")
    change = compare_results([new], [old], Limits()).changes[0]
    assert change.interval.ratio == pytest.approx(1.0, abs=0.02)
    assert not change.is_regression


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.03, "slower within the limit"), (0.9, "faster"), (1.0, "no change shown")]
)
def test_the_verdict_names_direction_and_limit(factor: float, verdict: str) -> None:
    old = latency_row([10.0, 10.1, 9.9, 10.05, 9.95, 10.0, 10.02, 9.98])
    new = latency_row([10.0 * factor, 10.1 * factor, 9.9 * factor, 10.05 * factor, 9.95 * factor, *[10 * factor] * 3])
    change = compare_results([new], [old], Limits()).changes[0]
    assert (change.verdict, change.is_regression) == (verdict, False)


def test_few_rounds_prove_nothing() -> None:
    change = compare_results([latency_row([20.0] * 4)], [latency_row([10.0] * 4)], Limits()).changes[0]
    assert (change.verdict, change.is_regression) == ("too few rounds", False)


def test_an_engine_that_lost_accuracy_is_a_regression_however_fast() -> None:
    accuracy = {"data": "plate", "images": 9, "metrics": {"image_auroc": 0.95, "pro": 0.9}}
    old = latency_row([10.0] * 8, accuracy=accuracy)
    new = latency_row([5.0] * 8, accuracy={**accuracy, "metrics": {"image_auroc": 0.94, "pro": 0.9}})
    change = compare_results([new], [old], Limits()).changes[0]
    assert (change.accuracy_fell, change.is_regression) == (["image_auroc"], True)
    other = latency_row([10.0] * 8, accuracy={**accuracy, "data": "tile"})
    assert compare_results([new], [other], Limits()).changes[0].accuracy == {}


def test_rows_that_one_side_lacks_are_named() -> None:
    comparison = compare_results([latency_row(batch=4)], [latency_row(batch=8)], Limits())
    assert comparison.changes == []
    assert "batch 4" in comparison.only_new[0]
    assert "batch 8" in comparison.only_old[0]
