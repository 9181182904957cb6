"""The page and the command that writes it."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from benchmarks.report.__main__ import main
from benchmarks.report.charts import Point, front, pareto_chart
from benchmarks.report.rows import PeerSide
from edge_ad.evaluation.charts import PAPER, svg
from tests.benchmarks.report.rows import latency_document

ACCURACY = {
    "data": "plate",
    "images": 9,
    "metrics": {"image_auroc": 0.951, "pixel_auroc": 0.9, "pro": 0.8},
    "difference": {"image_auroc": -0.0012},
}
SCALING = {
    "kind": "scaling",
    "recorded": "2026-01-02T00:00:00+00:00",
    "subject": "fader",
    "quantity": "side of the image, pixels",
    "cost": "ms",
    "points": [[128, 4.0], [256, 15.0], [512, 60.0]],
    "exponent": 1.95,
    "low": 1.8,
    "high": 2.1,
    "note": "pixels",
    "machine": {},
}
SIDE = {"p50_ms": 10.0, "runs": 50, "ratio": 1.0, "ratio_per_round": [1.0, 1.0]}
PEERS = {
    "kind": "peers",
    "recorded": "2026-01-02T00:00:00+00:00",
    "bundle": "bundle",
    "product": "plate",
    "scope": "engine",
    "reference": "ours",
    "sides": [{**SIDE, "name": "ours"}, {**SIDE, "name": "eager", "ratio": 5.0, "ratio_per_round": [4.5, 5.5]}],
    "not_measured": {"other <tool>": "not installed"},
    "machine": {},
}
TRAINING = {"product": "plate", "size": 256, "seed": 0, "method": "patch-gaussian", "image_auroc": 0.9, "pro": 0.7}


def write(path: Path, *documents: object) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = [
        latency_document(accuracy=ACCURACY, product="plate <b>"),
        latency_document(batch=4),
        SCALING,
        PEERS,
        TRAINING,
    ]
    return write(tmp_path / "results.jsonl", *rows)


class _Outside(HTMLParser):
    """Everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert tag not in ("script", "link", "iframe")


def test_the_page_holds_everything_and_fetches_nothing(results: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"\x89PNG\r\n\x1a\nrest")
    assert main([str(results), "--out", str(tmp_path / "out"), "--sheet", str(sheet)]) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    outside = _Outside()
    outside.feed(page)
    assert [link for link in outside.found if not link.startswith("data:image/png;base64,")] == []
    assert "url(" not in page.replace("url(#", "")
    assert "plate &lt;b&gt;" in page
    assert "<b>" not in page.replace("<b>10", "")
    for heading in (
        "Accuracy against latency",
        "Latency, end to end",
        "Where the time goes",
        "Scaling",
        "Picture sheets",
    ):
        assert f">{heading}<" in page
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 5
    for drawing in drawings:
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert "prefers-color-scheme:dark" in page


def test_accuracy_that_was_not_measured_is_said_to_be(results: Path, tmp_path: Path) -> None:
    assert main([str(results), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    with_accuracy, without = (line for line in text.splitlines() if "fader, openvino int8" in line and "±0%" in line)
    assert "| 0.951 | 0.900 | 0.800 | I -0.0012 |" in with_accuracy
    assert "| not measured | not measured | not measured | not measured |" in without
    assert "| other <tool> | not measured |  |  | not installed |" in text
    assert "0.900 | not measured" in text  # the training without a pixel metric


def test_a_regression_is_exit_code_four_and_the_page_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = (
        write(tmp_path / "new", latency_document([11.0] * 9)),
        write(tmp_path / "old", latency_document([10.0] * 9)),
    )
    command = [str(new), "--compare", str(old), "--out", str(tmp_path / "out")]
    assert main(command) == 4
    assert "1 of 1 engines are past the limit: plate fader openvino int8" in capsys.readouterr().err
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<tr class="bad">' in page
    assert main([*command, "--max-regression", "0.2"]) == 0
    capsys.readouterr()
    assert main([*command, "--json"]) == 4
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert change["ratio"] == pytest.approx(1.1)
    assert (change["how"], change["is_regression"]) == ("paired", True)


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "line 1: not JSON"), ("[]", "not a row"), ("", "no result"), ('{"kind": "latency"}', "recorded: Field")],
)
def test_a_file_that_is_no_result_is_named(
    content: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "bad.jsonl" in error
    assert not (tmp_path / "out").exists()


def test_rows_of_other_tables_in_the_folder_are_passed_over(results: Path, tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", {"method": "pbas", "precision": "int8"}, {"kind": "stream", "fps": 3})
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "pbas" not in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_results_without_a_common_engine_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, old = write(tmp_path / "new", latency_document(batch=2)), write(tmp_path / "old", latency_document())
    assert main([str(new), "--compare", str(old), "--out", str(tmp_path / "out")]) == 2
    assert "no engine in common" in capsys.readouterr().err


def test_what_is_not_a_picture_is_refused(results: Path, tmp_path: Path) -> None:
    assert main([str(results), "--sheet", str(results), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_the_front_holds_what_no_other_beats_in_both() -> None:
    fast, best, worse, equal = (
        Point(n, ms, a) for n, ms, a in (("f", 5, 0.8), ("b", 9, 0.95), ("w", 10, 0.9), ("e", 6, 0.8))
    )
    assert front([worse, best, equal, fast]) == [fast, best]
    (axes,) = pareto_chart([worse, best, equal, fast], "image AUROC").axes
    marks = [mark for mark in axes.lines if mark.get_marker() == "o" and len(mark.get_xdata())]
    hollow = [mark for mark in marks if mark.get_markerfacecolor() == PAPER]
    assert sorted(mark.get_xdata()[0] for mark in hollow) == [6, 10]


def test_one_point_is_a_chart_too() -> None:
    assert "<svg" in svg(pareto_chart([Point("only", 5.0, 1.0)], "image AUROC"), "one")


def test_a_side_needs_its_rounds() -> None:
    assert PeerSide.model_validate({**SIDE, "name": "x"}).ratio == 1.0


def test_names_of_engines_that_are_close_do_not_stand_on_each_other() -> None:
    points = [Point(f"method-{index} int8", 15.0 + 0.02 * index, 1.0) for index in range(11)] + [
        Point("far", 60.0, 1.0)
    ]
    figure = pareto_chart(points, "image AUROC")
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the lines to the points
    assert len(boxes) == 12
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
