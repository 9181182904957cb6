"""What becomes a result for a PLC, and with what number."""

from __future__ import annotations

import math

import numpy as np

from edge_ad.plc.results import PartResults, ResultRule, VerdictCode
from edge_ad.streaming.frame import Result
from edge_ad.streaming.verdicts import PartObserver, PartRule
from tests.streaming.results import make_result


def test_every_judged_frame_is_one_and_numbers_never_skip() -> None:
    results = PartResults(ResultRule())
    made = [results.of_result(make_result(index, score=0.5 + index)) for index in range(3)]
    assert [(one.sequence, one.code.name) for one in made if one] == [(1, "OK"), (2, "NG"), (3, "NG")]


def test_a_part_is_one_result_with_the_regions_of_its_worst_frame() -> None:
    results, observer = PartResults(ResultRule(has_parts=True)), PartObserver(PartRule(2, 3))
    hot = np.zeros((48, 64), np.float32)
    hot[8:12, 20:30] = 3.0
    frames = [
        make_result(0, 2.5, source="front"),
        make_result(1, 3.0, source="front", anomaly_map=hot),
        make_result(2, 0.5, source="front"),
    ]
    made = []
    for frame in frames:
        assert results.of_result(frame) is None
        made += [results.of_event(event) for event in observer.see(frame)]
    (part,) = [one for one in made if one is not None]
    assert (part.sequence, part.part, part.code, part.frames, part.defective) == (1, 1, VerdictCode.NG, 3, 2)
    assert (part.score, part.threshold, part.source) == (2.5, 1.0, 1)
    assert [(box["x"], box["y"], box["width"], box["height"]) for box in part.regions] == [(20, 8, 10, 4)]


def test_an_id_that_is_a_number_is_the_number_of_the_part() -> None:
    results = PartResults(ResultRule())
    made = [results.of_result(make_result(part=name)) for name in ("4711", "A-7", "", "99999999999")]
    assert [(one.part, one.part_id) for one in made if one] == [
        (4711, "4711"),
        (2, "A-7"),
        (3, ""),
        (4, "99999999999"),
    ]


def test_no_number_is_not_inspected() -> None:
    made = PartResults(ResultRule()).of_result(make_result(score=math.nan))
    assert made is not None
    assert (made.code, made.reason) == (VerdictCode.NOT_INSPECTED, "not finite")


def test_a_frame_whose_verdict_is_due_and_that_cannot_be_judged_is_not_inspected() -> None:
    made = PartResults(ResultRule()).of_result(Result.of_unjudged(make_result(part="p7").frame, "black", 1.0, "b"))
    assert made is not None
    assert (made.sequence, made.part_id, made.code, made.reason) == (1, "p7", VerdictCode.NOT_INSPECTED, "black")
