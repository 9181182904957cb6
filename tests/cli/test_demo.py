"""What the demo tells of its line; the way there is that of the verbs, which have tests of their own."""

import json
from pathlib import Path

import pytest

from edge_ad import demo
from edge_ad.cli import main
from edge_ad.demo import CalledNg, DemoResult, EngineRow, LineVerdicts
from edge_ad.export.verify import Verification


@pytest.fixture
def demonstrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the demo end at once, with these verdicts."""
    names = ("openvino fp32", "openvino int8")
    line = [
        LineVerdicts(
            name,
            good_frames=CalledNg(false_alarms, 255, false_alarms / 255),
            defective_frames=CalledNg(90, 105, 90 / 105),
            good_parts=CalledNg(0, 17, 0.0),
            defective_parts=CalledNg(6, 7, 6 / 7),
            threshold_rule=f"largest of 50 scores, {name}",
        )
        for name, false_alarms in zip(names, (2, 3), strict=True)
    ]
    rows = [EngineRow(name, 1.0, 0.99, 30.0, 30.0, 40.0) for name in names]
    result = DemoResult(
        rows, line, {"frames": 360, "fps": 30.0}, Verification("torch", 1, []), {"truth": Path("truth.csv")}
    )
    monkeypatch.setattr(demo, "run_demo", lambda *_, **__: result)
    return tmp_path / "demo"


def test_false_alarms_and_defects_found_are_printed_for_each_engine_with_its_threshold(
    demonstrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(demonstrated)]) == 0
    lines = capsys.readouterr().out.splitlines()
    fp32, int8 = (
        next(line for line in lines if line.startswith(name)) for name in ("openvino fp32  2", "openvino int8  3")
    )
    assert fp32.split("  ")[1:] == ["2 of 255 (0.8%)", "0 of 17 (0.0%)", "90 of 105 (85.7%)", "6 of 7 (85.7%)"]
    assert "3 of 255 (1.2%)" in int8
    assert "threshold openvino int8  largest of 50 scores, openvino int8" in lines


def test_the_verdicts_on_the_line_are_in_the_json(demonstrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(demonstrated), "--json"]) == 0
    line = json.loads(capsys.readouterr().out)["line"]
    assert [row["engine"] for row in line] == ["openvino fp32", "openvino int8"]
    assert line[1]["good_frames"] == {"ng": 3, "total": 255, "share": 3 / 255}
    assert line[1]["defective_parts"] == {"ng": 6, "total": 7, "share": 6 / 7}
