"""Results are handed over one at a time, and what is lost is counted."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edge_ad.plc.handshake import Handshake
from tests.plc.handmade import part_result
from tests.streaming.results import Told


@dataclass
class _Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def _handshake(count: int, *, timeout_s: float | None = None, capacity: int = 10) -> tuple[Handshake, _Clock, Told]:
    clock, told = _Clock(), Told()
    handshake = Handshake("Modbus", timeout_s=timeout_s, capacity=capacity, clock=clock)
    handshake.alarm.attach(told)
    for number in range(1, count + 1):
        handshake.put(part_result(number))
    return handshake, clock, told


def _out(handshake: Handshake) -> tuple[int, bool]:
    state = handshake.state()
    return (0 if state.result is None else state.result.sequence), state.is_valid


def test_next_result_is_put_out_when_the_bit_was_set_and_cleared() -> None:
    handshake, _, _ = _handshake(2)
    assert _out(handshake) == (1, True)
    handshake.acknowledge(True)
    assert _out(handshake) == (1, False)
    handshake.acknowledge(True)  # a PLC writes its outputs in every cycle
    assert _out(handshake) == (1, False)
    handshake.acknowledge(False)
    assert _out(handshake) == (2, True)


def test_a_bit_that_was_set_before_acknowledges_nothing() -> None:
    handshake, _, _ = _handshake(0)
    handshake.acknowledge(True)
    handshake.put(part_result(1))
    assert _out(handshake) == (0, False)
    handshake.acknowledge(False)
    assert _out(handshake) == (1, True)


def test_a_number_acknowledges_its_own_result_only() -> None:
    handshake, _, _ = _handshake(2)
    handshake.acknowledge_number(2)
    assert _out(handshake) == (1, True)
    handshake.acknowledge_number(1)
    assert _out(handshake) == (2, True)
    handshake.acknowledge_number(1)
    assert _out(handshake) == (2, True)


def test_without_a_time_out_a_result_waits_for_ever() -> None:
    handshake, clock, _ = _handshake(2)
    clock.now = 1e6
    assert _out(handshake) == (1, True)


def test_after_the_time_out_the_next_one_is_put_out_and_the_alarm_raised() -> None:
    handshake, clock, told = _handshake(2, timeout_s=0.5)
    clock.now = 0.4
    assert _out(handshake) == (1, True)
    clock.now = 0.6
    assert _out(handshake) == (2, True)
    assert handshake.state().unacknowledged == 1
    handshake.acknowledge_number(2)
    assert told.kinds == ["alarm", "alarm cleared"]


def test_a_bit_that_stays_set_holds_results_no_longer_than_the_time_out() -> None:
    handshake, clock, _ = _handshake(2, timeout_s=0.5)
    handshake.acknowledge(True)
    clock.now = 0.6
    assert _out(handshake) == (2, True)


def test_of_too_many_the_oldest_are_lost_and_counted() -> None:
    handshake, _, told = _handshake(14, capacity=10)
    state = handshake.state()
    assert (state.waiting, state.lost, told.kinds) == (10, 3, ["alarm"])
    seen = []
    while handshake.state().is_valid:
        seen.append(_out(handshake)[0])
        handshake.acknowledge_number(seen[-1])
    assert seen == [1, *range(5, 15)]
    assert told.kinds == ["alarm", "alarm cleared"]


def test_at_the_end_what_was_not_put_out_is_lost() -> None:
    handshake, _, _ = _handshake(3)
    handshake.end(1.0, lambda: False)
    state = handshake.state()
    assert (state.lost, state.unacknowledged, state.is_valid) == (2, 1, False)


@given(st.lists(st.sampled_from(["put", "set", "clear", "number", "late"]), max_size=60))
def test_every_result_is_seen_once_or_counted(steps: list[str]) -> None:
    handshake, clock, _ = _handshake(0, timeout_s=1.0, capacity=3)
    made, seen = 0, list[int]()
    for step in steps:
        if step == "put":
            made += 1
            handshake.put(part_result(made))
        elif step == "number":
            handshake.acknowledge_number(_out(handshake)[0])
        elif step == "late":
            clock.now += 1.0
        else:
            handshake.acknowledge(step == "set")
        number, _ = _out(handshake)
        if number and number not in seen:
            seen.append(number)
    state = handshake.state()
    assert seen == sorted(seen)
    assert len(seen) + state.waiting + state.lost == made
