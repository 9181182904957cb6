"""``edge-ad compare``: detectors side by side, from folders and from saved documents."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle, write_bundle
from edge_ad.cli.app import main
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.comparison import Candidate, Disagreement, compare, read_documents
from edge_ad.evaluation.comparison_page import render_comparison
from tests.cli.conftest import SIZE_HW
from tests.server.browser import Browser


def _document(called: dict[str, bool], *, auroc: float = 0.9) -> dict[str, object]:
    samples = [
        {"path": path, "defect_type": path.split("/")[0], "is_defective": "good" not in path, "score": 1.0}
        | {"is_called_defective": value}
        for path, value in called.items()
    ]
    return {"product": "tiles", "engine": "e", "metrics": {"image_auroc": auroc}, "samples": samples}


def test_photos_on_which_they_differ_are_named_with_who_calls_them() -> None:
    one = Candidate.of_document("one", _document({"good/a": False, "good/b": True, "cut/c": True}))
    two = Candidate.of_document("two", _document({"good/a": False, "good/b": False, "cut/c": True}))
    found = compare([one, two])
    assert found.disagreements == (Disagreement("good/b", "", ("one",)),)
    assert one.counted(is_defective=False) == (1, 2)
    assert two.counted(is_defective=True) == (1, 1)


def test_other_test_photos_cannot_be_compared() -> None:
    one = Candidate.of_document("one", _document({"good/a": False}))
    with pytest.raises(DataError, match="other test photos"):
        compare([one, Candidate.of_document("two", _document({"good/b": False}))])
    with pytest.raises(DataError, match="two was measured on hazelnut, one on tiles"):
        compare([one, Candidate.of_document("two", _document({"good/a": False}) | {"product": "hazelnut"})])
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([one])


def test_benchmark_gives_its_latency_to_the_evaluation_before_it() -> None:
    benchmark = {"measurements": {"end_to_end": {"p50_ms": 1.5}}}
    (found,) = read_documents([("e.json", _document({"good/a": False})), ("b.json", benchmark)])
    assert found.latency_ms == 1.5
    with pytest.raises(DataError, match="no evaluation before"):
        read_documents([("b.json", benchmark)])
    with pytest.raises(DataError, match="not what edge-ad evaluate"):
        read_documents([("x.json", {"x": 1})])


@pytest.fixture
def product(tmp_path: Path) -> Path:
    for folder, blue in (("train/good", 30), ("test/good", 30), ("test/good", 140), ("test/cut", 200)):
        image = np.full((*SIZE_HW, 3), 20, np.uint8)
        image[4:8, 10:16, 0] = blue
        (tmp_path / "tiles" / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "tiles" / folder / f"{blue}.png"), image)
    return tmp_path / "tiles"


def test_bundles_and_a_saved_evaluation_are_compared(
    bundle: Bundle, product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = bundle.manifest.graphs["fp32"]
    higher = graph.model_copy(update={"threshold": graph.threshold.model_copy(update={"value": 0.6})})
    manifest = bundle.manifest.model_copy(update={"graphs": {"fp32": higher}, "files": {}})
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    other = write_bundle(tmp_path / "other", manifest, files)
    assert main(["evaluate", str(bundle.root), "--data", str(product), "--json"]) == 0
    saved = tmp_path / "saved.json"
    saved.write_text(capsys.readouterr().out)
    targets = [str(bundle.root), str(other.root), str(saved)]
    assert main(["compare", *targets, "--data", str(product), "--seconds", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["false_alarms"] for row in found["candidates"]] == [[1, 2], [0, 2], [1, 2]]
    assert [row["detections"] for row in found["candidates"]] == [[1, 1]] * 3
    assert found["candidates"][0]["latency_ms"] > 0
    assert found["candidates"][2]["latency_ms"] is None
    (disagreement,) = found["disagreements"]
    assert disagreement["path"] == "test/good/140.png"
    assert disagreement["called_by"] == [str(bundle.root), str(saved)]
    report = tmp_path / "report"
    assert main(["compare", *targets, "--data", str(product), "--seconds", "0.1", "--report", str(report)]) == 0
    printed = capsys.readouterr()
    assert "Photos on which they differ (1)" in printed.out
    assert f"Report: {report / 'index.html'}" in printed.err
    assert json.loads((report / "comparison.json").read_text())["disagreements"] == [disagreement]
    page = (report / "index.html").read_text()
    assert "test/good/140.png" in page
    assert page.count("data:image/jpeg") == 3  # the photo, and the map of each bundle: a saved document has none
    assert page.count("NG, wrong") == 2
    assert page.count("OK, right") == 1


def test_no_page_is_wider_than_its_screen_and_no_figure_is_broken(tmp_path: Path) -> None:
    called = {f"good/{'long-name-' * 12}{number}": number % 2 == 0 for number in range(4)}
    one, two = (Candidate.of_document(f"runs/{'long/' * 20}{name}", _document(called)) for name in "ab")
    two = replace(two, called={path: not value for path, value in called.items()}, latency_ms=12.5, size_bytes=10**8)
    path = tmp_path / "index.html"
    path.write_text(render_comparison(compare([one, two])))
    with Browser(tmp_path / "profile") as browser:
        for width, height in ((390, 844), (1280, 900)):
            browser.open(path.as_uri(), width=width, height=height)
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert browser.evaluate(
                "[...document.querySelectorAll('td')].filter(cell => /^[0-9.]+$/.test(cell.textContent))"
                ".every(cell => { const text = document.createRange(); text.selectNodeContents(cell);"
                " return text.getClientRects().length === 1; })"
            )
            assert browser.problems == []


def test_names_of_photos_and_detectors_are_text_on_the_page() -> None:
    one = Candidate.of_document("<b>one</b>", _document({"good/<i>a": True}))
    two = Candidate.of_document("two", _document({"good/<i>a": False}))
    page = render_comparison(compare([one, two]))
    assert "&lt;b&gt;one" in page
    assert "<i>" not in page
    assert "data:image" not in page
