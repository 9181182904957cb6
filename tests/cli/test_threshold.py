"""``edge-ad threshold``: thresholds shown, set on good photos or to a value, with the reason beside them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_ad.alignment import Alignment
from edge_ad.bundle import Bundle, list_engines
from edge_ad.bundle.documents import to_bytes
from edge_ad.cli import main
from edge_ad.data.splits import content_hash
from edge_ad.errors import BundleError, DataError
from edge_ad.evaluation.good_photos import photos_of_folder, read_good_photos
from edge_ad.manifest import GraphInfo, MetricsRecord
from edge_ad.photo_spec import PhotoSpec
from edge_ad.runtime.engines import build_engine, open_engine
from edge_ad.scene import SceneLimits, measure_scene
from edge_ad.streaming.frame import Event
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.store import RecordStore, VerdictRow

_COUNT = 30
_BLUES = range(100, 100 + 5 * _COUNT, 5)  # of the brightest pixel: the score is this over 255, and 0.5 the threshold


def _photo(blue: int, size_hw: tuple[int, int] = (32, 32)) -> np.ndarray:
    """Dark and mottled, in another way each time, but for one pixel."""
    image = np.random.default_rng(blue).integers(20, 61, (*size_hw, 3)).astype(np.uint8)
    image[size_hw[0] // 2, size_hw[1] // 2, 0] = blue
    return image


def _write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, blue in enumerate(_BLUES):
        _write(tmp_path / "confirmed" / f"{number:02d}.png", _photo(blue))
    return tmp_path / "confirmed"


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_threshold_is_the_conformal_quantile_of_the_engines_own_scores(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "threshold",
        str(bundle.root),
        "--from-good",
        str(photos),
        "--false-alarm-rate",
        "0.1",
        "--by",
        "Ada",
        "--accept-scores",
    ]
    assert main([*command, "--json"]) == 0
    (graph,) = json.loads(capsys.readouterr().out)["graphs"]
    # ⌈31 · 0.9⌉ = 28th of 30 scores; 0.5 · 255 = 127.5, and 24 of the blues are above.
    assert graph["new"]["value"] == pytest.approx(_BLUES[27] / 255)
    assert (graph["false_alarms_before"], graph["false_alarms_after"]) == (24, 2)
    renewed = Bundle.open(bundle.root)
    threshold = renewed.graph("fp32").threshold
    assert (threshold.value, threshold.good_images) == (graph["new"]["value"], _COUNT)
    (entry,) = map(json.loads, renewed.read_file("audit.jsonl").splitlines())
    assert (entry["by"], entry["from"], entry["photos"]) == ("Ada", str(photos), _COUNT)
    assert entry["thresholds"]["fp32"]["old"]["value"] == 0.5
    assert entry["thresholds"]["fp32"]["new"] == threshold.model_dump()


def test_a_second_time_adds_an_entry_and_inspect_shows_them(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Ada", "Grace"):
        assert main(["threshold", str(bundle.root), "--from-good", str(photos), "--by", name, "--accept-scores"]) == 0
    lines = Bundle.open(bundle.root).read_file("audit.jsonl").splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["Ada", "Grace"]
    capsys.readouterr()
    assert main(["inspect", str(bundle.root)]) == 0
    out = capsys.readouterr().out
    assert "Thresholds set again" in out
    assert "Grace" in out


def test_an_engine_that_was_built_gets_the_threshold_of_its_graph(bundle: Bundle, photos: Path) -> None:
    build_engine(bundle, backend="onnxruntime", precision="fp32")
    assert (
        main(["threshold", str(bundle.root), "--from-good", str(photos), "--backend", "onnxruntime", "--accept-scores"])
        == 0
    )
    renewed = Bundle.open(bundle.root)
    (engine,) = list_engines(renewed)
    assert engine.sidecar.threshold == renewed.graph("fp32").threshold != bundle.graph("fp32").threshold
    with open_engine(renewed, backend="onnxruntime", open_from="built") as opened:
        assert opened.threshold == renewed.graph("fp32").threshold


def test_a_dry_run_shows_it_and_changes_nothing(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(bundle.root)
    assert main(["threshold", str(bundle.root), "--from-good", str(photos), "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "24 of 30" in out
    assert "Highest above the old fp32 threshold: 29.png 0.9608, 28.png 0.9412" in err
    assert "largest of 30" in out  # 1 % asks for 99
    assert "Nothing was changed" in err
    assert _files(bundle.root) == before


def _refusal(capsys: pytest.CaptureFixture[str], bundle: Bundle, *arguments: str) -> str:
    before = _files(bundle.root)
    capsys.readouterr()
    assert main(["threshold", str(bundle.root), *arguments]) == 2
    assert _files(bundle.root) == before
    return capsys.readouterr().err


def test_photos_that_cannot_set_a_threshold_are_refused(
    bundle: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "lies in no run" in _refusal(capsys, bundle, "--false-alarm-rate", "0.1")
    both = ("--from-good", str(photos), "--from-records", "line.sqlite")
    assert "--from-good DIR or --from-records" in _refusal(capsys, bundle, *both)
    assert "exclude each other" in _refusal(capsys, bundle, "--value", "0.5", "--false-alarm-rate", "0.1")
    assert "choose records" in _refusal(capsys, bundle, "--from-good", str(photos), "--since", "08:00")
    assert "not a finite number" in _refusal(capsys, bundle, "--value", "nan")
    assert "not a folder" in _refusal(capsys, bundle, "--from-good", str(tmp_path / "nowhere"))
    assert "false-alarm rate is between 0 and 1" in _refusal(
        capsys, bundle, "--from-good", str(photos), "--false-alarm-rate", "0"
    )
    broken = photos / "zz.png"
    broken.write_bytes((photos / "00.png").read_bytes()[:60])
    assert "zz.png" in _refusal(capsys, bundle, "--from-good", str(photos))
    broken.unlink()
    for number in range(15):
        (photos / f"{number:02d}.png").unlink()
    _write(photos / "copy.png", _photo(_BLUES[20]))
    again = _photo(_BLUES[21])
    again[0] += 1  # another file, and nothing new on it
    _write(photos / "again.png", again)
    err = _refusal(capsys, bundle, "--from-good", str(photos))
    assert "15 different photos of good parts are too few to set a threshold on; 2 show what another one shows" in err


def test_a_folder_of_what_was_defective_so_far_sets_no_threshold_unless_it_is_said_to_be_good(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    err = _refusal(capsys, bundle, "--from-good", str(photos))
    assert "24 of 30 photos are above the fp32 threshold of 0.5" in err
    assert "--accept-scores" in err
    for number in range(20, _COUNT):  # 14 of 20 are left, and then 6 of 12 more good ones
        (photos / f"{number}.png").unlink()
    for blue in range(60, 72):
        _write(photos / f"more-{blue}.png", _photo(blue))
    assert main(["threshold", str(bundle.root), "--from-good", str(photos)]) == 0


def test_photos_of_another_shape_are_refused_unless_their_region_is_given(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = bundle.manifest.photos.model_copy(update={"aspect_ratios": (1.0, 1.0), "size_hw": (32, 32)})
    manifest = bundle.manifest.model_copy(update={"photos": spec})
    (bundle.root / "manifest.json").write_bytes(to_bytes(manifest))
    for number, blue in enumerate(_BLUES):
        _write(photos / f"{number:02d}.png", np.hstack([np.zeros((32, 32, 3), np.uint8), _photo(blue)]))
    assert "another shape" in _refusal(capsys, bundle, "--from-good", str(photos))
    assert (
        main(["threshold", str(bundle.root), "--from-good", str(photos), "--region", "32,0,32,32", "--accept-scores"])
        == 0
    )
    assert Bundle.open(bundle.root).graph("fp32").threshold.value == pytest.approx(_BLUES[-1] / 255)


def test_what_was_trained_on_does_not_count(bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted = [content_hash(photos / f"{number:02d}.png") for number in range(5)]
    split = bundle.manifest.split.model_copy(update={"fit": fitted})
    (bundle.root / "manifest.json").write_bytes(to_bytes(bundle.manifest.model_copy(update={"split": split})))
    assert main(["threshold", str(bundle.root), "--from-good", str(photos), "--json", "--accept-scores"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["photos"], found["trained_on"]) == (25, 5)


def test_other_light_is_said_and_taken_as_right_only_when_asked_for(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bright = SceneLimits.of([measure_scene(np.full((32, 32, 3), 80, np.uint8))] * 8)
    assert bright is not None
    lit = bundle.with_files({"scene.json": to_bytes(bright)})
    assert main(["threshold", str(bundle.root), "--from-good", str(photos), "--accept-scores"]) == 0
    assert "darker by 50 %" in capsys.readouterr().err
    assert Bundle.open(lit.root).scene() == bright
    assert main(["threshold", str(bundle.root), "--from-good", str(photos), "--accept-scene"]) == 0
    found = Bundle.open(lit.root).scene()
    assert found is not None
    assert (found.photos, found.ranges["brightness"].centre) == (_COUNT, pytest.approx(40, abs=0.5))


def _recorded(tmp_path: Path, photos: Path, *, ng: int) -> Path:
    """A watched folder's records: of the first ``ng`` photos an NG image was kept, the others passed."""
    database = tmp_path / "line.sqlite"
    store = RecordStore(database, source="parts", ng_images=str(tmp_path / "ng"))
    rows = []
    for number in range(_COUNT):
        is_ng = number < ng
        if is_ng:
            _write(tmp_path / "ng" / f"{number}.png", _photo(_BLUES[number]))
        rows.append(
            VerdictRow(
                "parts", "b", number, 1e9 + number, 0.4, 0.5, is_ng, 3.0, 4.0,
                image=f"{number}.png" if is_ng else None, path=str(photos / f"{number:02d}.png"),
            )
        )  # fmt: skip
    store.commit(rows)
    store.close()
    return database


def test_records_that_a_person_confirmed_set_it(
    bundle: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = _recorded(tmp_path, photos, ng=3)
    assert "is confirmed as good: of the newest 27 OK and 3 NG records, 30 have a picture" in _refusal(
        capsys, bundle, "--from-records", str(database)
    )
    assert main(["records", "confirm", str(database), "--id", "1-25", "--by", "Ada"]) == 0
    assert main(["threshold", str(bundle.root), "--from-records", str(database), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photos"] == 25
    assert Bundle.open(bundle.root).graph("fp32").threshold.value == pytest.approx(_BLUES[24] / 255)


def test_false_alarms_alone_set_no_threshold(
    bundle: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = _recorded(tmp_path, photos, ng=22)
    assert main(["records", "confirm", str(database), "--verdict", "NG"]) == 0
    assert "22 of 22 confirmed photos were NG" in _refusal(capsys, bundle, "--from-records", str(database))


def test_parts_of_a_camera_that_passed_have_no_pictures(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RecordStore(tmp_path / "line.sqlite", source="camera")
    store.commit([VerdictRow("camera", "b", number, 1e9 + number, 0.4, 0.5, False, 3.0, 4.0) for number in range(40)])
    store.close()
    assert main(["records", "confirm", str(tmp_path / "line.sqlite"), "--id", "1-40"]) == 0
    err = _refusal(capsys, bundle, "--from-records", str(tmp_path / "line.sqlite"))
    assert "None of the 40 confirmed records" in err


def test_a_confirmation_is_an_event_and_can_be_taken_back(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = _recorded(tmp_path, photos, ng=3)
    assert main(["records", "confirm", str(database), "--id", "2,4-6", "--by", "Ada"]) == 0
    assert main(["records", "confirm", str(database), "--id", "4", "--by", "Grace", "--withdraw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 1
    with RecordReader(database) as reader:
        good = [record["id"] for record in reader.records(RecordFilter(confirmed="good"))]
        events = [(event["event"], event["data"]) for event in reader.events(RecordFilter())]
    assert good == [2, 5, 6]
    assert events == [
        ("confirmed good", {"by": "Ada", "ids": [2, 4, 5, 6]}),
        ("confirmation withdrawn", {"by": "Grace", "ids": [4]}),
    ]
    assert main(["records", "list", str(database), "--verdict", "NG"]) == 0
    assert "NG (confirmed good)" in capsys.readouterr().out
    assert main(["records", "confirm", str(database), "--id", "7,7,6-7", "--by", "Ada"]) == 0
    assert "2 records confirmed as good by Ada; 1 were so before" in capsys.readouterr().err


def test_a_master_part_in_an_hour_of_good_parts_does_not_count_as_good(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database, at = _recorded(tmp_path, photos, ng=3), 1e9 + 29
    shown = {"at_unix": at, "frames": [{"source": "parts", "since_unix": at, "until_unix": at}]}
    store = RecordStore(database, source="parts")
    store.commit([Event("master part", at + 0.1, data=shown)])
    store.close()
    assert main(["records", "confirm", str(database), "--source", "parts"]) == 0
    assert "1 frames of master parts are left out." in capsys.readouterr().err
    with RecordReader(database) as reader:
        assert [record["id"] for record in reader.records(RecordFilter(confirmed="good"))] == list(range(1, 30))
    assert main(["records", "confirm", str(database), "--id", "30"]) == 0  # whoever names it means it


@pytest.mark.parametrize("arguments", [[], ["--id", "99"], ["--id", "x"], ["--id", "5-2"], ["--source", "other"]])
def test_a_confirmation_of_nothing_is_refused(
    arguments: list[str], tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = _recorded(tmp_path, photos, ng=3)
    assert main(["records", "confirm", str(database), *arguments]) == 2
    with RecordReader(database) as reader:
        assert list(reader.records(RecordFilter(confirmed="good"))) == []
        assert list(reader.events(RecordFilter())) == []


def test_a_database_of_before_takes_confirmations(tmp_path: Path, photos: Path) -> None:
    from edge_ad.streaming.records.schema import _STEPS, open_for_writing

    path = tmp_path / "old.sqlite"
    connection = open_for_writing(path, steps=_STEPS[:3])
    connection.execute("INSERT INTO streams VALUES (1, 1e9, 'line', '')")
    connection.execute("INSERT INTO sources VALUES (1, 'line')")
    connection.execute("INSERT INTO bundles VALUES (1, 'b')")
    connection.execute("INSERT INTO verdicts VALUES (1, 1, 1, 1, 0, 1e9, 0.4, 0.5, 0, 3.0, 4.0, NULL, '', '')")
    connection.close()
    with RecordReader(path) as reader:
        assert [record["confirmed"] for record in reader.records(RecordFilter())] == [""]
    assert main(["records", "confirm", str(path), "--id", "1"]) == 0
    with RecordReader(path) as reader:
        assert [record["confirmed"] for record in reader.records(RecordFilter())] == ["good"]


def test_an_event_of_another_kind_is_left_alone(tmp_path: Path, photos: Path) -> None:
    database = _recorded(tmp_path, photos, ng=3)
    store = RecordStore(database, source="parts")
    store.commit([Event("part", 5.0, "parts", "Part 0 is OK.", {})])
    store.close()
    assert main(["records", "confirm", str(database), "--id", "1"]) == 0
    with RecordReader(database) as reader:
        assert [event["event"] for event in reader.events(RecordFilter())] == ["part", "confirmed good"]


def test_without_options_it_shows_what_is_promised_and_changes_nothing(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(bundle.root)
    assert main(["threshold", str(bundle.root)]) == 0
    out = capsys.readouterr().out
    assert "chosen" in out
    assert main(["threshold", str(bundle.root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["graphs"]["fp32"]
    assert (shown["value"], shown["false_alarm_bound"], shown["good_images"], shown["photos_needed"]) == (
        0.5,
        0.4,
        3,
        99,
    )
    assert _files(bundle.root) == before


def test_who_comes_second_is_told_and_no_audit_entry_is_lost(bundle: Bundle) -> None:
    from edge_ad.evaluation.recalibration import apply_value, given_thresholds

    first, second = Bundle.open(bundle.root), Bundle.open(bundle.root)
    apply_value(first, given_thresholds(first, 0.6, by="Ada"), by="Ada")
    with pytest.raises(BundleError, match="changed meanwhile"):
        apply_value(second, given_thresholds(second, 0.9, by="Grace"), by="Grace")
    renewed = Bundle.open(bundle.root)
    assert renewed.graph("fp32").threshold.value == 0.6
    apply_value(renewed, given_thresholds(renewed, 0.9, by="Grace"), by="Grace")
    entries = map(json.loads, Bundle.open(bundle.root).read_file("audit.jsonl").splitlines())
    assert [entry["by"] for entry in entries] == ["Ada", "Grace"]


def test_what_a_command_writes_that_began_before_keeps_the_new_threshold(bundle: Bundle) -> None:
    """``calibrate``, ``build-engine`` and ``evaluate`` opened the bundle, took their time, and a person set a value."""
    from edge_ad.bundle import EngineKey, find_engine, write_engine
    from edge_ad.evaluation.recalibration import apply_value, given_thresholds

    before = Bundle.open(bundle.root)
    apply_value(bundle, given_thresholds(bundle, 0.6, by="Ada"), by="Ada")
    key = EngineKey("onnxruntime", "fp32", "cpu", "1.0.0")
    assert write_engine(before, key, lambda folder: {}).sidecar.threshold.value == 0.6
    metrics = MetricsRecord(data="test", engine="some", images=1, values={})
    assert before.with_metrics(metrics).graph("fp32").threshold.value == 0.6
    graph = GraphInfo(file="model.int8.onnx", threshold=before.graph("fp32").threshold)
    renewed = before.with_graph("int8", graph, {"model.int8.onnx": before.graph_path("fp32")})
    assert {name: info.threshold.value for name, info in renewed.manifest.graphs.items()} == {"fp32": 0.6, "int8": 0.5}
    assert Bundle.open(bundle.root).manifest == renewed.manifest
    assert renewed.manifest.metrics == [metrics]
    assert find_engine(renewed, key) is not None


def test_what_was_made_of_a_graph_that_was_replaced_meanwhile_is_refused(bundle: Bundle) -> None:
    from edge_ad.bundle import EngineKey, write_engine

    before = Bundle.open(bundle.root)
    other = before.graph_bytes("fp32") + b"\x08\x07"  # the version of the format again, which may stand twice
    Bundle.open(bundle.root).with_graph("fp32", before.graph("fp32"), {before.graph("fp32").file: other})
    graph = GraphInfo(file="model.int8.onnx", threshold=before.graph("fp32").threshold)
    with pytest.raises(BundleError, match=r"fp32 graph of .* was replaced meanwhile"):
        before.with_graph("int8", graph, {"model.int8.onnx": before.graph_path("fp32")})
    with pytest.raises(BundleError, match="was replaced meanwhile"):
        write_engine(before, EngineKey("onnxruntime", "fp32", "cpu", "1.0.0"), lambda folder: {})
    assert list(bundle.root.glob("engines/*")) == []


def test_a_value_that_a_person_gives_promises_nothing_and_the_audit_says_who(bundle: Bundle) -> None:
    build_engine(bundle, backend="onnxruntime", precision="fp32")
    assert main(["threshold", str(bundle.root), "--value", "0.7", "--by", "Ada"]) == 0
    renewed = Bundle.open(bundle.root)
    threshold = renewed.graph("fp32").threshold
    assert (threshold.value, threshold.false_alarm_bound, threshold.good_images) == (0.7, 1.0, 0)
    assert threshold.rule.startswith("given by Ada at 20")
    (entry,) = map(json.loads, renewed.read_file("audit.jsonl").splitlines())
    assert (entry["action"], entry["by"], entry["thresholds"]["fp32"]["old"]["value"]) == ("set value", "Ada", 0.5)
    with open_engine(renewed, backend="onnxruntime", open_from="built") as opened:
        assert opened.threshold == threshold


def test_photos_give_a_value_of_a_person_its_bound(bundle: Bundle, photos: Path) -> None:
    value = (_BLUES[-1] + 1) / 255
    assert main(["threshold", str(bundle.root), "--value", str(value), "--from-good", str(photos)]) == 0
    threshold = Bundle.open(bundle.root).graph("fp32").threshold
    assert threshold.value == value
    assert threshold.false_alarm_bound == pytest.approx(1 - 0.05 ** (1 / _COUNT))  # none of 30 above
    assert "0 of 30 good photos are above" in threshold.rule


def test_a_rate_alone_takes_the_held_out_photos_of_the_run(
    bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = {f"{photos.name}/{path.name}": content_hash(path) for path in sorted(photos.iterdir())}
    record = {"product_root": str(photos.parent), "split": {"calibrate": {}, "threshold": hashes}}
    (bundle.root.parent / "run.json").write_text(json.dumps(record))
    assert main(["threshold", str(bundle.root), "--false-alarm-rate", "0.1"]) == 0
    assert Bundle.open(bundle.root).graph("fp32").threshold.value == pytest.approx(_BLUES[27] / 255)
    _write(photos / "03.png", _photo(1))
    assert "03.png is not the photo" in _refusal(capsys, bundle, "--false-alarm-rate", "0.1")


def test_a_rate_alone_counts_the_cross_fitted_scores_of_the_other_photos_of_the_run(
    bundle: Bundle, photos: Path
) -> None:
    paths = sorted(photos.iterdir())
    names = [f"{photos.name}/{path.name}" for path in paths]
    hashes = {name: content_hash(path) for name, path in zip(names, paths, strict=True)}
    others = [f"train/{number}.png" for number in range(30)]  # never read: only their scores are known
    split = {
        "calibrate": {name: hashes[name] for name in names[:10]},
        "threshold": {name: hashes[name] for name in names[10:]},
        "folds": [names, others],
        "duplicates": [],
        "in_blocks": True,
    }
    scores = {name: blue / 255 for name, blue in zip(names, _BLUES, strict=True)} | dict.fromkeys(others, 0.9)
    record = {"product_root": str(photos.parent), "split": split, "good_scores": scores}
    (bundle.root.parent / "run.json").write_text(json.dumps(record))
    assert main(["threshold", str(bundle.root), "--false-alarm-rate", "0.1"]) == 0
    threshold = Bundle.open(bundle.root).graph("fp32").threshold
    # ⌈61 · 0.9⌉ = 55th of 60: below 0.9 are the 26 blues up to 225, so ranks 27 to 56 are 0.9.
    assert (threshold.value, threshold.good_images) == (pytest.approx(0.9), 60)


def test_recalibrate_is_another_name_of_it(bundle: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for verb, option in (("threshold", "--from-good"), ("recalibrate", "--from")):
        assert main([verb, str(bundle.root), option, str(photos), "--dry-run", "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]


def test_all_photos_whose_part_cannot_be_aligned_are_named_at_once(bundle: Bundle, photos: Path) -> None:
    box = Alignment(along=(-0.3, 0.3), across=(-0.2, 0.2), length=(0.4, 0.6))
    manifest = Bundle.open(bundle.root).manifest
    manifest = manifest.model_copy(update={"photos": PhotoSpec(geometry="align", alignment=box)})
    found = photos_of_folder(photos)
    with pytest.raises(
        DataError, match=r"30 of 30 photos cannot be judged: .*00\.png \(part cut off\), .*19\.png \(no part"
    ):
        read_good_photos(found, manifest)
