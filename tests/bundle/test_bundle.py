"""Opening, refusing, writing and extending bundles."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_ad.bundle import Bundle, Reference, list_engines, newest_bundle, write_bundle
from edge_ad.bundle.documents import check_name, to_bytes
from edge_ad.errors import BundleError, StorageError, UsageError
from edge_ad.manifest import GraphInfo, Manifest, MetricsRecord, SplitInfo, Threshold
from edge_ad.scene import SceneLimits, SceneMeasures

_GRAPH = onnx.ModelProto(ir_version=9, producer_name="graph").SerializeToString()
_INT8_GRAPH = onnx.ModelProto(ir_version=9, producer_name="another").SerializeToString()
_THRESHOLD = Threshold(
    value=0.5, rule="test", false_alarm_rate=0.01, false_alarm_bound=0.1, confidence=0.95, good_images=40
)


def reference(count: int = 2, size_hw: tuple[int, int] = (4, 6)) -> Reference:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *size_hw, 3), dtype=np.uint8)
    return Reference(images, np.arange(count, dtype=np.float32), rng.random((count, *size_hw), np.float32))


def manifest(created: str = "2025-01-01T00:00:00Z") -> Manifest:
    return Manifest(
        method="tiny",
        parameters={"size": 4},
        product="test",
        input_size_hw=(4, 6),
        graphs={"fp32": GraphInfo(file="model.onnx", threshold=_THRESHOLD)},
        split=SplitInfo(seed=0, fit=["a"], calibrate=["b"], threshold=["c"]),
        created=created,
    )


def files() -> dict[str, bytes | Path]:
    return {"model.onnx": _GRAPH, "reference.npz": reference().to_bytes(), "precision/int8.json": b"{}"}


def written(root: Path, created: str = "2025-01-01T00:00:00Z") -> Bundle:
    return write_bundle(root, manifest(created), files())


def edited(bundle: Bundle, **changes: Any) -> Path:
    path = bundle.root / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
    return bundle.root


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_was_written_is_what_is_opened(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    opened = Bundle.open(tmp_path / "bundle")
    assert opened == bundle
    assert set(opened.manifest.files) == set(files())
    assert opened.graph_path("fp32").read_bytes() == _GRAPH
    assert opened.graph_sha256("fp32") == opened.manifest.files["model.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_reference_comes_back_bit_for_bit(tmp_path: Path) -> None:
    got = written(tmp_path / "bundle").reference()
    for name in ("images", "scores", "maps"):
        np.testing.assert_array_equal(getattr(got, name), getattr(reference(), name))
    assert reference().to_bytes() == reference().to_bytes()


@pytest.mark.parametrize("name", ["model.onnx", "reference.npz", "precision/int8.json"])
def test_one_changed_byte_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "bundle").root / name
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(BundleError, match=rf"{name} was changed or damaged.*edge-ad export"):
        Bundle.open(tmp_path / "bundle")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    (written(tmp_path / "bundle").root / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        Bundle.open(tmp_path / "bundle")


def test_a_newer_schema_says_which_version_is_read_and_to_upgrade(tmp_path: Path) -> None:
    root = edited(written(tmp_path / "bundle"), schema_version=3, something_new={})
    with pytest.raises(BundleError, match=r"version 3; this edge-ad reads up to version 2.*--upgrade edge-ad"):
        Bundle.open(root)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "not understood"),
        (b'{"seed": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"threshold": 1, "threshold": 2}', "'threshold' is given twice"),
        (b'{"method": "\\ud800"}', "not understood"),
        (b"[]", "not a JSON object"),
        (b"{}", "method: Field required"),
        (b'{"schema_version": "one"}', "schema_version"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused(tmp_path: Path, text: bytes, words: str) -> None:
    (written(tmp_path / "bundle").root / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=words):
        Bundle.open(tmp_path / "bundle")


def test_a_name_of_thousands_of_letters_is_shown_in_part(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"x{100}\.\.\.: Extra inputs") as caught:
        Bundle.open(edited(written(tmp_path / "bundle"), **{"x" * 9000: 1}))
    assert len(caught.value.message) < 1000


def test_a_manifest_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "bundle").root / "manifest.json"
    with path.open("wb") as file:
        file.truncate(1 << 33)  # takes no room on the disk
    with pytest.raises(BundleError, match="too large"):
        Bundle.open(tmp_path / "bundle")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "engines/openvino-fp32-x/engine.json"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    bundle = written(tmp_path / "bundle")
    (bundle.root / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle.root / name).unlink(missing_ok=True)
    os.mkfifo(bundle.root / name)
    with pytest.raises((BundleError, UsageError), match=r"is missing|has no manifest"):
        list_engines(Bundle.open(bundle.root))


def test_a_graph_that_is_no_onnx_file_is_refused_when_the_bundle_is_opened(tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "bundle", manifest(), {"model.onnx": b"text"})
    with pytest.raises(BundleError, match=r"model\.onnx holds no complete ONNX graph"):
        Bundle.open(made.root)


def test_what_was_not_recorded_or_was_changed_since_is_not_read(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    (bundle.root / "notes.txt").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"records no SHA-256 for notes\.txt"):
        bundle.read_file("notes.txt")
    assert bundle.read_file("precision/int8.json") == b"{}"
    (bundle.root / "precision" / "int8.json").write_bytes(b"[]")
    with pytest.raises(BundleError, match=r"int8\.json was changed"):
        bundle.read_file("precision/int8.json")


@pytest.mark.parametrize("name", ["x" * 300 + ".onnx", "x/" * 3000 + "y"])
def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path, name: str) -> None:
    bundle = written(tmp_path / "bundle")
    with pytest.raises(BundleError):
        Bundle.open(edited(bundle, files={**bundle.manifest.files, name: "0" * 64}))


def test_what_is_not_a_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, words in (("nowhere", "is not there"), ("file", "is not a folder"), (".", r"has no manifest\.json")):
        with pytest.raises(UsageError, match=words):
            Bundle.open(tmp_path / name)


def test_the_folder_of_a_run_leads_to_its_bundle(tmp_path: Path) -> None:
    made = written(tmp_path / "run" / "bundle")
    with pytest.raises(UsageError) as caught:
        Bundle.open(tmp_path / "run")
    assert caught.value.hint == f"Name the one in it: {made.root}"
    written(tmp_path / "run" / "another")
    with pytest.raises(UsageError) as caught:
        Bundle.open(tmp_path / "run")
    assert "edge-ad export" in str(caught.value.hint)  # it is not said which


_EVIL = ["../secret", "/etc/passwd", "a/../../b", "a\\..\\b", "C:/x", "", ".", "a//b", "./a", "a/", "a\nb", "\0"]


@pytest.mark.parametrize("name", _EVIL)
def test_a_name_that_leads_out_of_the_bundle_is_refused(tmp_path: Path, name: str) -> None:
    bundle = written(tmp_path / "bundle")
    hashes = {**bundle.manifest.files, name: "0" * 64}
    with pytest.raises(BundleError, match="not a plain path"):
        Bundle.open(edited(bundle, files=hashes))
    with pytest.raises(BundleError, match="not a plain path"):
        write_bundle(tmp_path / "other", manifest(), {**files(), name: b"x"})
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@given(st.text(alphabet="ab./\\:\n", max_size=12))
def test_an_accepted_name_stays_inside(name: str) -> None:
    root = Path("/bundle")
    try:
        check_name(name, where="test")
    except BundleError:
        return
    assert (root / name).is_relative_to(root)
    assert ".." not in (root / name).parts
    assert (root / name) != root


def test_a_graph_outside_or_without_a_hash_is_refused(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    graph = bundle.manifest.graphs["fp32"].model_dump()
    with pytest.raises(BundleError, match="not a plain path"):
        Bundle.open(edited(bundle, graphs={"fp32": {**graph, "file": "../model.onnx"}}))
    with pytest.raises(BundleError, match=r"no SHA-256 for other\.onnx"):
        Bundle.open(edited(bundle, graphs={"fp32": {**graph, "file": "other.onnx"}}))


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    (tmp_path / "outside").write_bytes(_GRAPH)
    (bundle.root / "model.onnx").unlink()
    (bundle.root / "model.onnx").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="leads out of"):
        Bundle.open(bundle.root)


def test_a_bundle_opens_through_a_link(tmp_path: Path) -> None:
    written(tmp_path / "bundle")
    (tmp_path / "link").symlink_to(tmp_path / "bundle")
    assert Bundle.open(tmp_path / "link").manifest.method == "tiny"


def test_pickles_are_not_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([{}], object), scores=np.zeros(1), maps=np.zeros(1))
    bundle = write_bundle(tmp_path / "bundle", manifest(), {**files(), "reference.npz": buffer.getvalue()})
    with pytest.raises(BundleError, match=r"does not hold reference outputs.*allow_pickle"):
        bundle.reference()


def _one_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("text", [b"", b"text", b"PK\x03\x04broken", _one_array(), reference().to_bytes()[:-30]])
def test_a_broken_reference_is_a_bundle_error(tmp_path: Path, text: bytes) -> None:
    bundle = write_bundle(tmp_path / "bundle", manifest(), {**files(), "reference.npz": text})
    with pytest.raises(BundleError, match="does not hold reference outputs"):
        bundle.reference()


def _packed(method: int, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in ("images", "scores", "maps"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                for start in range(0, size, 1 << 24):
                    file.write(bytes(min(1 << 24, size - start)))
    return buffer.getvalue()


def _strange(kind: str) -> bytes:
    content = bytearray(reference().to_bytes())
    if kind == "zlib":  # a stream that cannot be unpacked
        content[content.find(b"images.npy") + 40] ^= 0xFF
    if kind == "method":  # of compression, that Python does not know
        for start in (b"PK\x03\x04", b"PK\x01\x02"):
            at = content.find(start) + (8 if start.endswith(b"\x04") else 10)
            content[at : at + 2] = b"\x63\0"
    if kind == "encrypted":
        for start in (b"PK\x03\x04", b"PK\x01\x02"):
            content[content.find(start) + (6 if start.endswith(b"\x04") else 8)] |= 1
    return bytes(content)


@pytest.mark.parametrize("kind", ["zlib", "method", "encrypted"])
def test_a_reference_that_cannot_be_unpacked_is_a_bundle_error(tmp_path: Path, kind: str) -> None:
    bundle = write_bundle(tmp_path / "bundle", manifest(), {**files(), "reference.npz": _strange(kind)})
    with pytest.raises(BundleError, match="does not hold reference outputs"):
        bundle.reference()


def test_a_reference_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    content = _packed(zipfile.ZIP_BZIP2, 400 << 20)
    assert len(content) < 1 << 16
    bundle = write_bundle(tmp_path / "bundle", manifest(), {**files(), "reference.npz": content})
    with pytest.raises(BundleError, match=r"unpacks to 1\.2 GiB"):
        bundle.reference()


def test_a_reference_without_images_or_with_numbers_that_are_not_finite_is_refused() -> None:
    good = reference()
    with pytest.raises(BundleError, match="at least one image"):
        Reference(good.images[:0], good.scores[:0], good.maps[:0])
    for value in (np.nan, np.inf):
        with pytest.raises(BundleError, match="finite"):
            Reference(good.images, good.scores, np.full_like(good.maps, value))
        with pytest.raises(BundleError, match="finite"):
            Reference(good.images, np.full_like(good.scores, value), good.maps)


def test_a_reference_with_a_part_missing_is_a_bundle_error(tmp_path: Path) -> None:
    buffer = io.BytesIO(reference().to_bytes())
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(tmp_path / "part.npz", "w") as new:
        new.writestr("images.npy", old.read("images.npy"))
    bundle = write_bundle(tmp_path / "bundle", manifest(), {**files(), "reference.npz": tmp_path / "part.npz"})
    with pytest.raises(BundleError, match="scores"):
        bundle.reference()


def test_a_reference_of_another_size_is_refused(tmp_path: Path) -> None:
    other = reference(size_hw=(8, 8)).to_bytes()
    bundle = write_bundle(tmp_path / "bundle", manifest(), {**files(), "reference.npz": other})
    with pytest.raises(BundleError, match="input size"):
        bundle.reference()


def test_a_bundle_without_a_reference_says_so(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", manifest(), {"model.onnx": _GRAPH})
    with pytest.raises(BundleError, match="no reference outputs"):
        bundle.reference()


def test_reference_arrays_must_fit_each_other() -> None:
    good = reference()
    with pytest.raises(BundleError, match="scores"):
        Reference(good.images, good.scores[:1], good.maps)
    with pytest.raises(BundleError, match="maps"):
        Reference(good.images, good.scores, good.maps[:, :2])
    with pytest.raises(BundleError, match="images"):
        Reference(good.images.astype(np.float32), good.scores, good.maps)


def test_a_missing_graph_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no int8 graph \(it has: fp32\).*edge-ad calibrate .* --precision int8"):
        written(tmp_path / "bundle").graph("int8")


def test_a_missing_graph_of_a_runs_own_bundle_names_the_run(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(BundleError) as caught:
        written(run / "bundle").graph("int8")
    assert caught.value.hint == f"Make it: edge-ad calibrate '{run}' --precision int8"


def test_writing_replaces_a_bundle_and_refuses_anything_else(tmp_path: Path) -> None:
    written(tmp_path / "bundle")
    newer = write_bundle(tmp_path / "bundle", manifest("2026-01-01T00:00:00Z"), {"model.onnx": _INT8_GRAPH})
    assert set(content(tmp_path / "bundle")) == {"manifest.json", "model.onnx"}
    assert Bundle.open(tmp_path / "bundle") == newer
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.png").write_bytes(b"")
    with pytest.raises(BundleError, match="not a bundle"):
        written(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.png"]
    (tmp_path / "empty").mkdir()
    written(tmp_path / "empty")


def test_a_manifest_whose_graph_is_not_given_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"lacks the graph model\.onnx"):
        write_bundle(tmp_path / "bundle", manifest(), {})
    with pytest.raises(StorageError, match=r"nowhere\.onnx"):
        write_bundle(tmp_path / "bundle", manifest(), {"model.onnx": tmp_path / "nowhere.onnx"})
    assert list(tmp_path.iterdir()) == []


def test_a_graph_is_added_with_its_report_and_the_engines_stay(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    (bundle.root / "engines" / "some").mkdir(parents=True)
    (bundle.root / "engines" / "some" / "file").write_bytes(b"engine")
    info = GraphInfo(file="model.int8.onnx", threshold=_THRESHOLD)
    updated = bundle.with_graph("int8", info, {"model.int8.onnx": _INT8_GRAPH, "precision/int8.json": b"[1]"})
    assert Bundle.open(bundle.root) == updated
    assert set(updated.manifest.graphs) == {"fp32", "int8"}
    after = content(bundle.root)
    assert (after["model.int8.onnx"], after["precision/int8.json"]) == (_INT8_GRAPH, b"[1]")
    assert (after["engines/some/file"], after["model.onnx"]) == (b"engine", _GRAPH)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_replacing_a_graph_from_the_bundles_own_file_works(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    updated = bundle.with_graph("fp32", bundle.graph("fp32"), {"model.onnx": bundle.graph_path("fp32")})
    assert Bundle.open(bundle.root) == updated == bundle


def test_a_failed_update_leaves_the_bundle_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = written(tmp_path / "bundle")
    before = content(bundle.root)

    def no_space(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    info = GraphInfo(file="model.onnx", threshold=_THRESHOLD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", no_space)
        with pytest.raises(StorageError, match="disk is full"):
            bundle.with_graph("fp32", info, {"model.onnx": b"other"})
    assert content(bundle.root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_metrics_are_added_and_remeasured_ones_replaced(tmp_path: Path) -> None:
    bundle = written(tmp_path / "bundle")
    first = MetricsRecord(data="test", engine="openvino fp32", images=10, values={"image_auroc": 0.9})
    again = first.model_copy(update={"values": {"image_auroc": 0.95}})
    other = first.model_copy(update={"engine": "openvino int8"})
    bundle = bundle.with_metrics(first).with_metrics(other).with_metrics(again)
    assert Bundle.open(bundle.root).manifest.metrics == [other, again]


def test_a_folder_that_may_not_be_entered_hides_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, locked = written(tmp_path / "bundle"), tmp_path / "lost+found"
    locked.mkdir()
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != locked)
    monkeypatch.setattr(Path, "is_file", refused)
    assert newest_bundle(tmp_path) == made


def test_the_newest_bundle_is_the_one_created_last_not_touched_last(tmp_path: Path) -> None:
    newest = written(tmp_path / "a", "2025-03-01T12:00:00+00:00")
    written(tmp_path / "b", "2025-03-01T12:30:00+01:00")  # an earlier moment
    written(tmp_path / "c", "2024-12-31T00:00:00Z")
    (tmp_path / "not a bundle").mkdir()
    assert newest_bundle(tmp_path) == newest
    assert newest_bundle(tmp_path / "c").root == tmp_path / "c"


@pytest.mark.parametrize("place", ["bundle", "screw/bundle", "runs/screw/bundle"])
def test_the_bundle_of_a_run_below_is_found(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    made = written(tmp_path / place)
    (tmp_path / "runs/.old").mkdir(parents=True)
    shutil.copytree(made.root, tmp_path / "runs/.old/bundle")  # left over where something was replaced
    assert newest_bundle(tmp_path).root == made.root


def test_without_a_bundle_the_error_names_the_command(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"no bundle in .*edge-ad export"):
            newest_bundle(directory)


def test_a_damaged_newest_bundle_is_not_passed_over(tmp_path: Path) -> None:
    written(tmp_path / "a")
    (written(tmp_path / "b").root / "manifest.json").write_bytes(b"{")
    with pytest.raises(BundleError, match="not valid JSON"):
        newest_bundle(tmp_path)
    written(tmp_path / "b", "yesterday")
    with pytest.raises(BundleError, match="no valid date"):
        newest_bundle(tmp_path)


def test_a_bundle_says_how_its_photos_looked_or_nothing(tmp_path: Path) -> None:
    assert written(tmp_path / "old").scene() is None
    limits = SceneLimits.of([SceneMeasures(100.0, 0.5, 0.2, 1.0, 1.0, 1.0)] * 8)
    assert limits is not None
    bundle = written(tmp_path / "new").with_files({"scene.json": to_bytes(limits)})
    assert Bundle.open(bundle.root).scene() == limits


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{}", "scene.json is not understood"),
        (b"not JSON", "scene.json is not valid JSON"),
        (b'{"schema_version": 2}', "scene.json has schema version 2"),
    ],
)
def test_a_damaged_description_of_the_scene_is_refused(tmp_path: Path, text: bytes, problem: str) -> None:
    bundle = written(tmp_path / "bundle").with_files({"scene.json": text})
    with pytest.raises(BundleError, match=problem):
        bundle.scene()
