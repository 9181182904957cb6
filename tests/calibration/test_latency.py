import time

import pytest

from edge_ad.calibration.latency import interleaved_medians


def test_callables_run_in_turns_forwards_and_backwards() -> None:
    order: list[str] = []
    found = interleaved_medians({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2, runs=1)  # type: ignore[misc]
    assert "".join(order) == "aabb" + "aabb" + "bbaa"
    assert {name: item.runs for name, item in found.items()} == {"a": 2, "b": 2}


def test_a_median_is_in_milliseconds() -> None:
    found = interleaved_medians({"sleep": lambda: time.sleep(0.01), "nothing": lambda: None}, rounds=2, runs=3)
    assert found["sleep"].median_ms == pytest.approx(10, rel=0.5)
    assert found["nothing"].median_ms < 1
    assert 0 <= found["sleep"].error_ms < found["sleep"].median_ms
