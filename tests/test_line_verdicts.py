"""Verdicts against truth: what is counted, and that nothing is counted that was not judged."""

import csv
import json
from pathlib import Path

import pytest

from edge_ad.data.sample_product import Shown
from edge_ad.demo import compare_with_truth, read_verdicts, write_truth
from edge_ad.errors import DataError
from edge_ad.manifest import Threshold

TRUTH = [Shown(0, 3, "good"), Shown(4, 7, "dent", (10, 20, 30, 40)), Shown(8, 9, "good"), Shown(10, 13, "crack")]
THRESHOLD = Threshold(
    value=0.5, rule="largest of 63", false_alarm_rate=0.01, false_alarm_bound=0.05, confidence=0.95, good_images=63
)
NG = {1, 4, 5, 7, 8, 9, 10, 11}


def verdicts(ng: set[int]) -> dict[int, bool]:
    return {frame: frame in ng for frame in range(14)}


def test_frames_and_parts_are_counted_by_what_is_true() -> None:
    line = compare_with_truth("engine int8", THRESHOLD, TRUTH, verdicts(NG))
    assert (line.good_frames.ng, line.good_frames.total) == (3, 6)
    assert (line.defective_frames.ng, line.defective_frames.total) == (5, 8)
    assert (line.good_parts.ng, line.good_parts.total) == (1, 2)  # one frame of four does not make a part NG
    assert (line.defective_parts.ng, line.defective_parts.total) == (1, 2)  # neither does half of them
    assert line.good_frames.share == 0.5
    assert str(line.good_frames) == "3 of 6 (50.0%)"
    assert line.threshold_rule == "largest of 63"


def test_a_line_without_a_defect_has_no_share_of_defects_found() -> None:
    line = compare_with_truth("engine", THRESHOLD, [Shown(0, 13, "good")], verdicts(set()))
    assert line.defective_frames.share is None
    assert str(line.defective_frames) == "0 of 0"
    assert line.good_frames.share == 0.0


@pytest.mark.parametrize("judged", [range(13), range(15), [*range(13), 20]])
def test_verdicts_that_are_not_one_for_each_frame_are_refused(judged: range) -> None:
    with pytest.raises(DataError, match="have no verdict"):
        compare_with_truth("engine", THRESHOLD, TRUTH, dict.fromkeys(judged, False))


def write_records(path: Path, records: list[tuple[int, object]]) -> Path:
    path.write_text("".join(json.dumps({"frame": frame, "verdict": verdict}) + "\n" for frame, verdict in records))
    return path


def test_verdicts_are_read_from_the_records_of_a_stream(tmp_path: Path) -> None:
    assert read_verdicts(write_records(tmp_path / "r.jsonl", [(0, "OK"), (1, "NG")])) == {0: False, 1: True}


@pytest.mark.parametrize("records", [[(0, "OK"), (0, "NG")], [(0, None)], [(0, "good")]])
def test_a_verdict_that_is_none_or_double_is_refused(tmp_path: Path, records: list[tuple[int, object]]) -> None:
    with pytest.raises(DataError, match="frame 0"):
        read_verdicts(write_records(tmp_path / "r.jsonl", records))


def test_the_truth_is_written_with_what_each_engine_said(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth.csv", TRUTH, {"ng_fp32": verdicts(set()), "ng_int8": verdicts(NG)})
    with (tmp_path / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["good", "dent", "good", "crack"]
    assert rows[0]["x"] == ""
    dent = {"part": "1", "first_frame": "4", "last_frame": "7", "kind": "dent", "frames": "4"}
    assert rows[1] == dent | {"x": "10", "y": "20", "width": "30", "height": "40", "ng_fp32": "0", "ng_int8": "3"}
