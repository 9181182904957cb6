"""The report: complete, self-contained, escaped, and written whole or not at all."""

import json
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from edge_ad.data.samples import Sample
from edge_ad.errors import DataError, StorageError, UsageError
from edge_ad.evaluation import drawing
from edge_ad.evaluation.charts import score_histogram, svg
from edge_ad.evaluation.drawing import Canvas, fitted, text_width
from edge_ad.evaluation.page import render_page
from edge_ad.evaluation.report import choose_samples, report_sections, write_report
from edge_ad.evaluation.results import Evaluation
from edge_ad.evaluation.sample_metrics import decide
from edge_ad.evaluation.sheet import SheetRow, SheetSection, draw_sheet
from edge_ad.evaluation.thresholds import fit_threshold

SIZE = (24, 36)
HOSTILE = '<script>alert("x")&\'"'  # no slash: it must be a file name too


@pytest.fixture
def evaluation(tmp_path) -> Evaluation:
    """Four good parts that score 0..3 and four defective ones that score 2.5..5.5; the threshold is 2.75."""
    samples = []
    for index in range(8):
        path = tmp_path / "plate" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((*SIZE, 3), 40 + 20 * index, np.uint8))
        samples.append(Sample(path, index >= 4, "dent" if index >= 4 else "good", None))
    scores = np.array([0, 1, 2, 3, 2.5, 3.4, 4.5, 5.5])
    maps = np.zeros((8, *SIZE), np.float32)
    maps[:, 6:12, 6:12] = scores[:, None, None]
    return Evaluation(
        product="plate",
        root=tmp_path / "plate",
        size_hw=SIZE,
        samples=tuple(samples),
        scores=scores,
        maps=maps,
        metrics={"image_auroc": 0.9375, "image_ap": 0.95},
        defect_auroc={"dent": 0.9375},
        brightness_auroc=1.0,
        without_mask=4,
        decisions=decide(samples, scores, fit_threshold(np.array([2.75]), false_alarm_rate=0.5)),
        engine="a test engine",
    )


def without_threshold(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, decisions=None)


def row(**changes) -> SheetRow:
    values = {
        "defect_type": "dent",
        "name": "1.png",
        "is_defective": True,
        "score": 3.0,
        "threshold": 2.0,
        "image": np.full((*SIZE, 3), 90, np.uint8),
        "anomaly_map": np.zeros(SIZE, np.float32),
    }
    return SheetRow(**(values | changes))


def sheet_of(*rows: SheetRow) -> np.ndarray:
    return draw_sheet([SheetSection("All", rows)], map_threshold=1.0, title="plate")


class _Page(HTMLParser):
    """Every tag of a page, and every address it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_mistakes_and_doubtful_images_come_first_and_none_twice(evaluation):
    groups = choose_samples(evaluation, per_reason=1)
    assert [group.indices for group in groups] == [(3,), (4,), (5,), (7,), (0,)]
    every = [index for group in choose_samples(evaluation, per_reason=3) for index in group.indices]
    assert len(every) == len(set(every)) == 8


def test_without_a_threshold_the_doubtful_images_are_those_between_the_kinds(evaluation):
    groups = choose_samples(without_threshold(evaluation), per_reason=1)
    assert groups[2].reason == "Between good and defective"
    # Halfway between the medians 1.5 and 3.95 is 2.725; 3 and 2.5 are taken already, 3.4 is nearer than 2.
    assert groups[2].indices == (5,)


@pytest.mark.parametrize("defective", [True, False])
def test_one_kind_of_image_alone_can_be_shown(evaluation, defective):
    kept = [index for index, sample in enumerate(evaluation.samples) if sample.is_defective is defective]
    alone = replace(
        without_threshold(evaluation),
        samples=tuple(evaluation.samples[index] for index in kept),
        scores=evaluation.scores[kept],
        maps=evaluation.maps[kept],
        brightness_auroc=None,
    )
    chosen = {index for group in choose_samples(alone) for index in group.indices}
    assert chosen == {0, 1, 2, 3}


def test_a_report_is_a_record_a_sheet_and_a_page(evaluation, tmp_path):
    write_report(tmp_path / "new" / "report", evaluation)
    folder = tmp_path / "new" / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.json", "index.html", "sheet.png"]
    assert json.loads((folder / "evaluation.json").read_text("utf-8")) == evaluation.to_json()
    assert cv2.imread(str(folder / "sheet.png")) is not None


def test_the_page_needs_nothing_beside_it_and_runs_nothing(evaluation, tmp_path):
    write_report(tmp_path / "report", evaluation)
    page = _Page((tmp_path / "report" / "index.html").read_text("utf-8"))
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_the_page_shows_the_figures_the_verdicts_and_the_confound(evaluation):
    text = render_page(evaluation, b"")
    for shown in ("0.938", "3 of 4", "1 of 4", "1.000", "a test engine", "4 defective images have no marked pixel"):
        assert shown in text


def test_every_text_from_outside_is_escaped(evaluation, tmp_path):
    samples = tuple(
        replace(sample, defect_type=HOSTILE if sample.is_defective else "good", path=tmp_path / f"{HOSTILE}{index}")
        for index, sample in enumerate(evaluation.samples)
    )
    hostile = replace(
        evaluation,
        product=HOSTILE,
        engine=HOSTILE,
        samples=samples,
        metrics={HOSTILE: 0.5},
        defect_auroc={HOSTILE: 0.5},
        decisions=decide(
            samples, evaluation.scores, evaluation.decisions.threshold.model_copy(update={"rule": HOSTILE})
        ),
    )
    text = render_page(hostile, b"")
    assert "<script" not in text
    # Title, heading, engine, rule, metric, defect; the path of each of 8 images and the truth of 4.
    assert text.count("&lt;script&gt;") == 6 + 8 + 4
    assert set(_Page(text).tags) == set(_Page(render_page(evaluation, b"")).tags)


@pytest.mark.parametrize("threshold", [None, 2.0, -50.0, 50.0])
@pytest.mark.parametrize("scores", [[1.0, 2.0, 3.0], [7.0, 7.0, 7.0], [0.0, 0.0, 0.0], [1e-9, 1e9, -1e9]])
def test_the_histogram_counts_every_image_inside_the_drawing(scores, threshold):
    labels = np.array([False, True, True])
    figure = score_histogram(np.array(scores), labels, threshold)
    assert ElementTree.fromstring(svg(figure, "scores")).tag.endswith("svg")
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    for bars, count in zip(axes.containers, (1, 2), strict=True):
        assert sum(bar.get_height() for bar in bars) == count
        assert all(low <= bar.get_x() <= bar.get_x() + bar.get_width() <= high for bar in bars)
    lines = [line.get_xdata()[0] for line in axes.lines]
    assert lines == ([] if threshold is None else [threshold])


def test_the_same_scores_give_the_same_chart_in_the_colours_of_the_page():
    drawn = [svg(score_histogram(np.arange(9.0), np.arange(9) > 5, 4.5), "scores") for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert "var(--good)" in drawn[0]
    assert "#0101" not in drawn[0]


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_packages_of_the_page_the_record_and_the_sheet_are_written_and_what_is_missing_is_said(
    package, evaluation, tmp_path, monkeypatch
):
    folder = tmp_path / "report"
    write_report(folder, evaluation)
    monkeypatch.setitem(sys.modules, package, None)
    paths = write_report(folder, evaluation)
    assert sorted(path.name for path in folder.iterdir()) == ["evaluation.json", "sheet.png"]
    assert paths.page is None
    assert package in paths.missing
    assert "pip install 'edge-ad[charts]'" in paths.missing
    assert "\n" not in paths.missing


def test_a_column_of_reconstructions_is_there_only_where_there_is_one(evaluation, tmp_path):
    plain = draw_sheet(report_sections(evaluation), map_threshold=1.0, title="plate")
    seen = []

    def reconstruct(images):
        seen.append(images.shape)
        return np.full_like(images, 200)

    sections = report_sections(evaluation, reconstruct=reconstruct)
    assert set(seen) == {(1, *SIZE, 3)}
    assert draw_sheet(sections, map_threshold=1.0, title="plate").shape[1] > plain.shape[1]
    silent = report_sections(evaluation, reconstruct=lambda images: None)
    assert draw_sheet(silent, map_threshold=1.0, title="plate").shape == plain.shape


def test_the_verdict_on_the_sheet_depends_on_score_threshold_and_truth():
    pictures = [
        sheet_of(row(score=score, is_defective=truth, threshold=threshold)).tobytes()
        for score in (1.0, 3.0)
        for truth in (True, False)
        for threshold in (2.0, None)
    ]
    assert len(set(pictures)) == len(pictures)


def test_the_mask_is_white_on_the_sheet_and_a_missing_one_is_not():
    mask = np.zeros(SIZE, bool)
    mask[4:20, 8:28] = True
    marked, unmarked = sheet_of(row(mask=mask)), sheet_of(row(mask=None))
    inside = np.s_[190:260, -160:-110]
    assert (marked[inside] == 255).all()
    assert (unmarked[inside] < 80).all()


@pytest.mark.parametrize("size", [(8, 80), (80, 8), (1, 1), (300, 200)])
def test_images_of_any_proportion_fit(size):
    image = np.zeros((*size, 3), np.uint8)
    sheet = sheet_of(row(image=image, anomaly_map=np.zeros(size, np.float32), mask=np.ones(size, bool)))
    assert sheet.ndim == 3


def test_a_very_long_or_foreign_name_is_shortened_to_its_column():
    sheet_of(row(name="x" * 400, defect_type="Kratzer-überlang-" * 20))
    assert text_width(fitted("x" * 400, 170, 12), 12) <= 170
    assert fitted("short.png", 170, 12) == "short.png"
    assert fitted("abcdefgh_0001.png", 80, 12).endswith(".png")


def test_the_sheet_is_drawn_with_the_fonts_of_opencv_4_too(evaluation, monkeypatch):
    monkeypatch.setattr(drawing, "_FACE", None)
    drawn = Canvas(40, 300, (255, 255, 255))
    drawn.text("threshold", (5, 25), 18, (0, 0, 0), bold=True)
    assert (drawn.pixels < 100).any()
    right = np.flatnonzero((drawn.pixels < 200).any(axis=(0, 2))).max()
    assert abs(right - 5 - text_width("threshold", 18, bold=True)) < 12
    assert draw_sheet(report_sections(evaluation), map_threshold=1.0, title="plate").size


def test_a_sheet_without_rows_is_refused():
    with pytest.raises(UsageError, match="no images"):
        draw_sheet([], map_threshold=1.0, title="plate")


def test_nothing_is_written_when_an_image_has_gone(evaluation, tmp_path):
    evaluation.samples[3].path.unlink()
    with pytest.raises(DataError):
        write_report(tmp_path / "report", evaluation)
    assert not (tmp_path / "report").exists()


def test_a_report_that_cannot_be_written_is_one_clear_error(evaluation, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_report(tmp_path / "file" / "report", evaluation)


def test_contours_follow_the_map_threshold_given(evaluation, tmp_path):
    for name, level in (("low", 0.5), ("high", 100.0)):
        write_report(tmp_path / name, evaluation, map_threshold=level)
    low, high = (cv2.imread(str(tmp_path / name / "sheet.png")).astype(int) for name in ("low", "high"))
    red = [(picture[..., 2] - picture[..., 0] > 150).sum() for picture in (low, high)]
    assert red[0] > red[1] + 1000


def test_without_a_threshold_a_report_still_has_contours_and_no_verdict(evaluation, tmp_path):
    write_report(tmp_path / "report", without_threshold(evaluation))
    record = json.loads((tmp_path / "report" / "evaluation.json").read_text("utf-8"))
    assert record["decisions"] is None
    assert "is_called_defective" not in record["samples"][0]
    assert "False alarms" not in Path(tmp_path / "report" / "index.html").read_text("utf-8")
