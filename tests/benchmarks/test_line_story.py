"""From false alarms of a harmless variation to a bundle that knows it: labelled, trained again, compared, judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.line_story import OPERATOR, Scale, brushed, told
from edge_ad.retraining.proposal import Proposal
from edge_ad.streaming.records.brush import strokes_mask
from edge_ad.streaming.records.labels import read_labels
from edge_ad.streaming.records.trail_check import verify_trail

pytestmark = pytest.mark.slow

SMALL = Scale(good=60, parts=100, defective=0.1, false_alarms=20, defects=6, size=128, values={"size": 128})


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], Proposal]:
    root = tmp_path_factory.mktemp("story") / "line"
    rows, proposal = told(root, "patch-gaussian", SMALL, swap=False)
    return root, rows, proposal


def _share(rows: list[dict[str, Any]], phase: str, bundle: str, count: str, total: str) -> float:
    (row,) = (row for row in rows if (row["phase"], row["bundle"]) == (phase, bundle))
    return float(row[count] / row[total])


def test_the_false_alarms_of_the_variation_go_and_defects_are_still_found(
    story: tuple[Path, list[dict[str, Any]], Proposal],
) -> None:
    _, rows, proposal = story
    later = "with the dot, later"
    assert _share(rows, later, "old", "false_alarms", "good") > 0.9
    assert _share(rows, later, "new", "false_alarms", "good") < 0.15
    assert _share(rows, later, "new", "missed", "defective") <= 0.5
    assert _share(rows, "as trained", "new", "false_alarms", "good") < 0.15
    old, new = proposal.comparisons["findings"].candidates
    assert old.counted(is_defective=False) == (6, 6)
    assert (new.counted(is_defective=False) or (6, 6))[0] <= 1


def test_the_records_say_who_taught_it_what(story: tuple[Path, list[dict[str, Any]], Proposal]) -> None:
    root, _, _ = story
    labels = read_labels(root / "line.sqlite")
    assert {label.by for label in labels} == {OPERATOR}
    assert [sum(label.label == word for label in labels) for word in ("good", "defect")] == [20, 4]
    assert all(label.record is not None and label.files == "as labelled" for label in labels)
    assert all(label.mask and label.kind for label in labels if label.label == "defect")
    report = verify_trail(root / "line.sqlite")
    assert (report.problems, report.verdicts) == ([], 60)


def test_dabs_of_the_brush_cover_the_defect(story: tuple[Path, list[dict[str, Any]], Proposal]) -> None:
    root, _, _ = story
    mask, *_ = sorted((root / "shift-1" / "masks").iterdir())
    strokes = brushed(mask)
    assert 1 <= len(strokes) <= 20
    assert strokes_mask(strokes, (128, 128)).any()
