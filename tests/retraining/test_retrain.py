"""``edge-ad retrain``: what is learned, what is kept to compare on, and that nothing but a proposal is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError
from edge_ad.retraining.findings import Finding, Findings, not_learned, read_findings
from edge_ad.retraining.lineage import Lineage, own_findings
from edge_ad.retraining.test_photos import without_test_photos
from edge_ad.streaming.frame import Frame
from edge_ad.streaming.product_mark import ProductMark
from edge_ad.streaming.records.brush import Stroke
from edge_ad.streaming.records.corrections import CorrectionStore, Label
from edge_ad.streaming.records.labelling import JudgedFrame, label_frame
from edge_ad.streaming.records.store import RecordStore, Row, VerdictRow
from edge_ad.training.runs import load_run

SMALL = ["--size", "64", "-p", "weights=random", "-p", "rank=4", "--geometry", "stretch", "--no-check-photos"]


def _photo(rng: np.random.Generator, *, has_mark: bool = False, has_scratch: bool = False) -> np.ndarray:
    image = np.full((64, 64, 3), 90, np.uint8)
    image[16:48, 16:48] = 180
    if has_mark:
        image[20:26, 20:26] = (200, 80, 40)
    if has_scratch:
        image[30:34, 18:46] = 10
    return cv2.add(image, rng.integers(0, 20, image.shape, dtype=np.uint8))


_LINE = "ab" * 32  # hash of the bundle that judged


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("product") / "squares"
    for name, count, scratch in (("train/good", 20, False), ("test/good", 4, False), ("test/scratch", 4, True)):
        (root / name).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(root / name / f"{index:02d}.png"), _photo(rng, has_scratch=scratch))
    cv2.imwrite(str(root / "test/good/another_shape.png"), np.full((20, 200, 3), 90, np.uint8))
    return root


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Records of a line: six marked parts were false alarms, three scratches were missed, and one of them is placed."""
    rng, store = np.random.default_rng(1), CorrectionStore(tmp_path / "corrected")
    rows: list[Row] = []
    for index in range(9):
        label: Label = "defect" if index % 3 == 2 else "good"
        image = _photo(rng, has_mark=label == "good", has_scratch=label == "defect")
        frame = Frame(index, image, float(index), 1.7e9 + index, 1.0, source="cam")
        judged = JudgedFrame("OK" if label == "defect" else "NG", "cam", index, "", 1.7e9 + index, 1.0, 2.0, _LINE)
        place = (Stroke(40, ((300, 500), (700, 500))),) if index == 2 else ()
        kind = "scratch" if label == "defect" else ""
        _, event = label_frame(store, frame, judged, label=label, by="Ada", kind=kind, place=place)
        assert event is not None
        rows.append(event)
    records = RecordStore(tmp_path / "line.sqlite", source="camera")
    records.commit(rows)
    records.close()
    return tmp_path / "line.sqlite"


@pytest.fixture(scope="module")
def run(product: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its bundle, which tests leave as it is."""
    return _trained(product, tmp_path_factory.mktemp("line"))


def _trained(product: Path, tmp_path: Path, method: str = "patch-gaussian", *more: str) -> Path:
    runs = tmp_path / "runs"
    assert main(["train", method, "--data", str(product), "--runs", str(runs), *SMALL, *more]) == 0
    assert main(["export", str(runs / "squares")]) == 0
    return runs / "squares"


def test_the_later_third_of_the_findings_is_kept_to_compare_on(database: Path) -> None:
    found = read_findings(database)
    assert [finding.label for finding in found] == ["good", "good", "defect"] * 3
    taught = Findings.split(found, learns_from_defects=True)
    assert taught.counts() == {"learned_good": 4, "learned_defect": 2, "compared_good": 2, "compared_defect": 1}
    assert taught.compared[-1] == found[-1]
    plain = Findings.split(found, learns_from_defects=False)
    assert plain.counts() == {"learned_good": 4, "learned_defect": 0, "compared_good": 2, "compared_defect": 3}
    two = Findings.split([Finding(Path("a"), "good"), Finding(Path("b"), "good")], learns_from_defects=True)
    assert two.compared == ()


def test_findings_are_in_the_order_of_their_parts_whenever_they_were_labelled(tmp_path: Path) -> None:
    rng, store = np.random.default_rng(2), CorrectionStore(tmp_path / "corrected")
    records = RecordStore(tmp_path / "line.sqlite", source="cam")
    records.commit([VerdictRow("cam", "hash", n, 1.7e9 + n, 2.0, 1.0, True, 3.0, 4.0) for n in range(3)])
    for index in (2, 0, 1):
        frame = Frame(index, _photo(rng), float(index), 1.7e9 + index, 1.0, source="cam")
        judged = JudgedFrame("NG", "cam", index, "", 1.7e9 + index, 1.0, 2.0, "hash")
        _, event = label_frame(store, frame, judged, label="good", by="Ada")
        assert event is not None
        records.commit([event])
    records.close()
    assert [finding.record for finding in read_findings(tmp_path / "line.sqlite")] == [1, 2, 3]


def test_what_the_run_has_learned_from_is_not_compared_on(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read_findings(database)
    good, defect = (content_hash(found[place].photo) for place in (0, 2))
    fresh = not_learned(found, {good}, {defect, content_hash(found[1].photo)})  # the last one as another label
    assert fresh == [found[1], *found[3:]]
    assert f"{found[1].photo.name} (good now)" in caplog.text
    every = {content_hash(finding.photo) for finding in found}
    with pytest.raises(DataError, match="has learned from all"):
        not_learned(found, every, every)


def test_a_proposal_is_trained_compared_and_written_and_nothing_else_is_touched(
    run: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "bundle" / "manifest.json").read_bytes()
    capsys.readouterr()
    chosen = ["--from-records", str(database), "--bundle", _LINE[:12]]
    assert main(["retrain", str(run), *chosen, "--seconds", "0.1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["findings"] == {"learned_good": 4, "learned_defect": 0, "compared_good": 2, "compared_defect": 3}
    old, new = found["comparisons"]["findings"]["candidates"]
    assert old["false_alarms"] == [2, 2]
    assert new["false_alarms"][0] < 2
    held_out = found["comparisons"]["held_out"]["candidates"]
    assert [row["detections"] for row in held_out] == [[4, 4], [4, 4]]
    assert [row["false_alarms"][1] for row in held_out] == [4, 4]  # a photo of another shape stops nothing
    assert (run / "bundle" / "manifest.json").read_bytes() == before
    again = load_run(run.with_name("squares-2"))
    assert len({*again.split.fit, *again.split.calibrate, *again.split.threshold}) == 24
    assert again.parameters == load_run(run).parameters
    assert Bundle.open(again.root / "bundle").manifest.product == "squares"
    page = (again.root / "proposal" / "index.html").read_text()
    assert "4 photos of good parts" in page
    assert (again.root / "proposal" / "findings" / "index.html").is_file()
    assert main(["retrain", str(run), *chosen, "--name", "squares-2"]) == 2
    assert Lineage.of(again).bundles > Lineage.of(load_run(run)).bundles


def test_a_method_that_learns_from_defects_is_taught_those_of_the_line(
    product: Path, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [part for name in ("epochs=1", "hidden=8", "metric_steps=2", "draws=1") for part in ("-p", name)]
    run = _trained(product, tmp_path, "supersimplenet", *tiny)
    capsys.readouterr()
    arguments = [str(run / "bundle"), "--from-records", str(database), "--name", "taught", "--seconds", "0.1", "--json"]
    arguments += ["--bundle", _LINE]
    assert main(["retrain", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["findings"]["learned_defect"] == 2
    labelled = load_run(run.with_name("taught")).labelled
    assert [len(record.masks) for record in labelled] == [1, 0]
    assert len(Bundle.open(run.with_name("taught") / "bundle").manifest.labelled_defects) == 2


def test_records_without_labels_or_with_changed_pictures_are_refused(
    run: Path, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RecordStore(tmp_path / "empty.sqlite", source="camera").close()
    refused = ["retrain", str(run), "--name", "refused", "--from-records"]
    assert main([*refused, str(tmp_path / "empty.sqlite")]) == 2
    assert "no labelled frame" in capsys.readouterr().err
    (picture, *_) = sorted((tmp_path / "corrected" / "good").iterdir())
    picture.write_bytes(picture.read_bytes() + b"x")
    assert main([*refused, str(database)]) == 2
    assert "not what was labelled" in capsys.readouterr().err
    assert not run.with_name("refused").exists()


def test_findings_of_another_product_are_learned_by_nobody(
    run: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ["retrain", str(run), "--name", "refused", "--from-records", str(database)]
    assert main(refused) == 2
    error = capsys.readouterr().err
    assert "abababababab: 9" in error
    assert "--bundle HASH" in error
    assert main([*refused, "--bundle", "xyz"]) == 2
    assert not run.with_name("refused").exists()
    said, lineage = list[str](), Lineage.of(load_run(run))
    (own,) = lineage.bundles
    (run / "proposal").mkdir()
    for damaged in ("{", "[]", '{"old": 5, "run": 7}'):
        (run / "proposal" / "proposal.json").write_text(damaged)
        assert Lineage.of(load_run(run)).bundles == {own}
    shutil.rmtree(run / "proposal")
    mixed = [Finding(Path("plate"), "good", bundle=own), Finding(Path("rod"), "good", bundle=_LINE)]
    assert own_findings(mixed, lineage, (), said.append) == mixed[:1]
    assert "abababababab: 1" in said[0]
    assert own_findings(mixed, lineage, (_LINE[:8],), said.append) == mixed


def test_a_product_is_known_by_its_name_and_a_good_photo_whatever_the_revision_of_its_bundle() -> None:
    own = Lineage("plate", frozenset({"p1", "p2", "p3"}), frozenset())
    marks = {
        "11" * 32: ProductMark.of("plate", ["p2", "p9"]),  # retrained: with other photos too
        "22" * 32: ProductMark.of("plate", ["p7", "p8"]),  # another line's plate
        "33" * 32: ProductMark.of("rod", ["p1"]),
        "44" * 32: ProductMark.of("plate", []),
        "55" * 32: ProductMark(),  # recorded by an older edge-ad
    }
    found = [Finding(Path(bundle), "good", bundle=bundle, product=mark) for bundle, mark in marks.items()]
    said = list[str]()
    assert own_findings(found, own, (), said.append) == found[:1]
    (words,) = said
    assert "222222222222 of plate, but of another product: no good photo in common: 1" in words
    assert "333333333333 of rod: 1" in words
    assert "555555555555: 1" in words
    assert own_findings(found, own, ("5555",), said.append) == [found[0], found[4]]


def test_findings_of_before_a_new_threshold_are_those_of_the_same_product(
    product: Path, run: Path, tmp_path: Path
) -> None:
    line, database = tmp_path / run.name, tmp_path / "line.sqlite"
    shutil.copytree(run, line)
    shown = ["--source", str(product / "test" / "good"), "--database", str(database), "--save-ng", str(tmp_path / "ng")]
    assert main(["threshold", str(line / "bundle"), "--value", "0"]) == 0
    assert main(["stream", "--bundle", str(line / "bundle"), *shown]) == 0
    assert main(["records", "confirm", str(database), "--verdict", "NG"]) == 0
    assert main(["threshold", str(line / "bundle"), "--value", "1000"]) == 0
    found, lineage, said = read_findings(database), Lineage.of(load_run(line)), list[str]()
    assert len(found) == 4
    assert {finding.bundle for finding in found}.isdisjoint(lineage.bundles)
    assert own_findings(found, lineage, (), said.append) == found
    assert said == []


def test_defects_alone_teach_nothing_to_a_method_that_learns_from_good_parts(
    run: Path, tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for picture in (tmp_path / "corrected" / "good").iterdir():
        picture.unlink()
    refused = ["retrain", str(run), "--name", "refused", "--bundle", _LINE, "--from-records", str(database)]
    assert main(refused) == 2
    assert "all are defects" in capsys.readouterr().err
    assert not run.with_name("refused").exists()


def test_findings_that_are_the_products_own_test_photos_are_not_learned(product: Path, tmp_path: Path) -> None:
    tested = [product / "test" / "good" / "00.png"]
    same, other, said = tmp_path / "same.bmp", product / "test" / "good" / "01.png", list[str]()
    cv2.imwrite(str(same), cv2.imread(str(tested[0])))
    findings = [Finding(same, "good"), Finding(other, "good")]
    assert without_test_photos(findings, [*tested, tmp_path / "gone.png"], 8, said.append) == findings[1:]
    assert said == ["1 labelled findings are test photos of the product, and left out."]
    with pytest.raises(DataError, match="nothing could be compared"):
        without_test_photos(findings[:1], tested, 8, said.append)


def test_what_cannot_be_trained_leaves_nothing_behind(
    run: Path, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise DataError("The photos cannot be used.")

    monkeypatch.setattr("edge_ad.retraining.proposal.train", fail)
    assert main(["retrain", str(run), "--from-records", str(database), "--name", "broken", "--bundle", _LINE]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert not run.with_name("broken").exists()
