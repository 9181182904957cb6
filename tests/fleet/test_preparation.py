"""What a device does with a new bundle before it is used: a real engine is built, and golden photos are judged."""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import BundleError, DataError
from edge_ad.fleet import ArtifactReference, publish
from edge_ad.fleet.follow import Follower, FollowOptions
from edge_ad.fleet.preparation import Preparation, PreparationCancelledError
from edge_ad.manifest import GateReport, GraphInfo
from edge_ad.runtime import open_engine
from edge_ad.runtime.verification import EngineIdentity
from edge_ad.strict_json import to_json
from tests.fleet.registry_double import RegistryDouble
from tests.runtime.tiny_bundle import SIZE_HW, graph_info, threshold, tiny_bundle


def with_int8_graph(root: Path) -> Bundle:
    """A bundle whose second graph quantises its input, which loses nothing: all values are whole 255ths."""
    gate = GateReport(passed=True, checks={"map_correlation": 1.0}, limits={"map_correlation": 0.99})
    int8 = GraphInfo(file="int8.onnx", threshold=threshold(), gate=gate)
    bundle = tiny_bundle(root, {"fp32": graph_info(), "int8": int8})
    model = onnx.load_from_string(bundle.read_file("int8.onnx"))
    place = next(index for index, node in enumerate(model.graph.node) if node.input[0] == "unit")
    model.graph.node[place].input[0] = "restored"
    for name, value in (("step", np.float32(1 / 255)), ("zero", np.uint8(0))):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    model.graph.node.insert(place, helper.make_node("QuantizeLinear", ["unit", "step", "zero"], ["whole"]))
    model.graph.node.insert(place + 1, helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["restored"]))
    onnx.checker.check_model(model, full_check=True)
    return bundle.with_files({"int8.onnx": model.SerializeToString()})


def golden_folder(folder: Path, *, is_wrong: bool = False) -> Path:
    """A black photo, whose score is 0, and one of noise, which is above the threshold of the tiny bundle."""
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    black = np.zeros_like(noise)
    for verdict, photo in {"OK": noise if is_wrong else black, "NG": noise}.items():
        (folder / verdict).mkdir(parents=True)
        assert cv2.imwrite(str(folder / verdict / "part.png"), photo)
    return folder


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_agent_builds_the_engines_of_this_device_and_a_stream_opens_them(
    registry: RegistryDouble, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    source, root = with_int8_graph(tmp_path / "source"), tmp_path / "device" / "screw"
    words = f"{registry.host}/line/screw:stable"
    publish(source, ArtifactReference.parse(words))
    assert main(["follow", words, "--into", str(root), "--once", "--backend", backend]) == 0
    bundle, recorded = Bundle.open(root), source.reference()
    for precision in ("fp32", "int8"):
        identity = EngineIdentity.of(bundle, backend, precision)
        assert identity.open_from == "built"
        with open_engine(bundle, backend=backend, precision=precision) as engine:
            assert engine.describe().source == identity.source
            scores = [prediction.score for prediction in engine.infer(recorded.images)]
        assert scores == pytest.approx(recorded.scores.tolist(), abs=1e-4)


def test_a_bundle_is_pulled_once_while_the_backend_does_not_build_it(registry: RegistryDouble, tmp_path: Path) -> None:
    root, words = tmp_path / "screw", f"{registry.host}/line/screw:stable"
    bundle = tiny_bundle(tmp_path / "source")
    model = onnx.load_from_string(bundle.read_file("model.onnx"))
    (second,) = (weights for weights in model.graph.initializer if weights.name == "second")
    second.CopyFrom(numpy_helper.from_array(np.zeros((1, 7, 3, 3), np.float32), "second"))  # of 16 channels
    publish(bundle.with_files({"model.onnx": model.SerializeToString()}), ArtifactReference.parse(words))
    follower = Follower(
        ArtifactReference.parse(words), root, Preparation(backend="onnxruntime").steps(), FollowOptions()
    )
    with follower.alone():
        for received in (True, False):
            registry.sent_blob_bytes = 0
            assert follower.check().step == "waiting"
            assert "No engine was built: ONNX Runtime could not run the engine" in follower.state.message
            assert bool(registry.sent_blob_bytes) == received
        publish(bundle.with_files({"notes.txt": b"the tag has moved on"}), ArtifactReference.parse(words))
        follower.check()
    assert not root.exists()
    assert len(list(tmp_path.glob(".screw-follow/candidate-*"))) == 1


def test_a_bundle_that_judges_a_golden_photo_wrongly_is_refused(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = golden_folder(tmp_path / "right"), golden_folder(tmp_path / "wrong", is_wrong=True)
    words = f"{registry.host}/line/screw:stable"
    publish(bundle, ArtifactReference.parse(words))
    command = ["follow", words, "--once", "--no-build", "--backend", "onnxruntime", "--into"]
    assert main([*command, str(tmp_path / "a"), "--golden", str(right)]) == 0
    assert "2 photos are judged as they must be" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "b"), "--golden", str(wrong)]) == 1
    assert "fails for 1 of 2 photos: OK/part.png is NG" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_golden_photo_that_cannot_be_judged_does_not_pass(bundle: Bundle, tmp_path: Path) -> None:
    folder = golden_folder(tmp_path / "golden")
    (folder / "NG" / "part.png").write_bytes(b"no photo")
    with pytest.raises(BundleError, match=r"1 of 2 photos: NG/part.png is unjudged \("):
        Preparation(backend="onnxruntime", golden=folder).check_golden(bundle.root)


def test_a_golden_folder_that_shows_nothing_is_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "golden" / "OK").mkdir(parents=True)
    assert main(["follow", "127.0.0.1:1/a:b", "--into", str(tmp_path / "x"), "--golden", str(tmp_path / "golden")]) == 2
    assert "holds no golden photos" in capsys.readouterr().err
    (tmp_path / "golden" / "NG").mkdir()
    with pytest.raises(DataError):
        Preparation(golden=tmp_path / "golden").check_golden(tmp_path)


def test_a_golden_folder_that_lost_its_photos_is_not_the_bundles_fault(
    registry: RegistryDouble, bundle: Bundle, tmp_path: Path
) -> None:
    reference, golden = ArtifactReference.parse(f"{registry.host}/line/screw:stable"), golden_folder(tmp_path / "g")
    publish(bundle, reference)
    photo = (golden / "NG" / "part.png").rename(tmp_path / "part.png")
    (golden / "NG" / "readme.txt").write_text("The photos are on the other disk.")
    preparation = Preparation(backend="onnxruntime", builds=False, golden=golden)
    follower = Follower(reference, tmp_path / "screw", preparation.steps(), FollowOptions())
    with follower.alone():
        assert follower.check().step == "waiting"
        assert "NG holds no golden photos" in follower.state.message
        photo.rename(golden / "NG" / "part.png")
        assert follower.check().step == "current"


@pytest.mark.parametrize("code", [0, -9])
def test_verdicts_on_some_of_the_golden_photos_are_none(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    golden = golden_folder(tmp_path / "golden")
    line = to_json({"path": str(golden / "OK" / "part.png"), "verdict": "OK", "reason": ""})
    script = tmp_path / "ended_early.py"
    script.write_text(f"import os\nprint({line!r}, flush=True)\nprint('{{\"path\": ', end='', flush=True)\n")
    if code:
        script.write_text(script.read_text() + "os.kill(os.getpid(), 9)\n")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(BundleError, match="The golden photos were not judged: it crashed"):
        Preparation(backend="onnxruntime", golden=golden).check_golden(bundle.root)


def test_a_cancelled_preparation_says_nothing_about_the_bundle(bundle: Bundle) -> None:
    preparation = Preparation(backend="onnxruntime")
    preparation.cancel()
    for _, prepare in preparation.steps():
        with pytest.raises(PreparationCancelledError):
            prepare(bundle.root)
