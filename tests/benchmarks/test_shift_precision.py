"""How far INT8 moves from FP32 under shift."""

from typing import Any

from benchmarks.shift_precision import table


def _row(step: float, auroc: float, false_alarms: float) -> dict[str, Any]:
    subject = {"product": "plate", "method": "patch-gaussian", "size": 256, "seed": 0, "shift_at": "file"}
    return {**subject, "kind": "noise", "step": step, "image_auroc": auroc, "false_alarms": false_alarms}


def test_a_line_says_at_how_many_steps_both_agree_and_where_they_differ_most() -> None:
    fp32 = [_row(4.0, 0.99, 0.0), _row(8.0, 0.9, 0.1), _row(16.0, 0.6, 0.5)]
    int8 = [_row(4.0, 0.988, 0.02), _row(8.0, 0.9, 0.2), _row(16.0, 0.62, 0.5), _row(32.0, 0.1, 1.0)]
    (line,) = table(fp32, int8).splitlines()[2:]
    assert (
        line == "| `plate` | `patch-gaussian` | 1 of 3 | +0.020, from 0.600 (noise 16) | +0.100, from 0.100 (noise 8) |"
    )


def test_a_row_that_was_measured_again_counts_as_its_last() -> None:
    (line,) = table([_row(4.0, 0.5, 1.0), _row(4.0, 0.99, 0.0)], [_row(4.0, 0.99, 0.0)]).splitlines()[2:]
    assert "1 of 1" in line
