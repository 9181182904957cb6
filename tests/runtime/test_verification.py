"""An engine judges only after it has given the recorded outputs on this machine: in a process of its own, once."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edge_ad.bundle import Bundle, Reference
from edge_ad.errors import BundleError
from edge_ad.export.build import build_engines
from edge_ad.manifest import GateReport, GraphInfo
from edge_ad.runtime import build_engine
from edge_ad.runtime.verification import EngineIdentity, Verification, verify
from edge_ad.storage import cache_folder, sha256_file
from edge_ad.streaming.bundle_opening import open_bundle
from tests.runtime.tiny_bundle import deploy_graph, graph_info, recorded_outputs, threshold, tiny_bundle
from tests.streaming.results import wait_until

AtStart = Callable[[str], None]


@pytest.fixture(autouse=True)
def _nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def at_start_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AtStart:
    """Have the real process do something from outside: where Python looks before it runs a program."""

    def plant(code: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return plant


def _scaled(factor: float, *, outputs: tuple[str, ...]) -> bytes:
    """The graph with outputs multiplied by a factor."""
    model = onnx.load_from_string(deploy_graph())
    model.graph.initializer.append(numpy_helper.from_array(np.float32(factor), "factor"))
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name in outputs:
                node.output[index] = f"{name}_before"
        for index, name in enumerate(node.input):
            if name in outputs:
                node.input[index] = f"{name}_before"
    model.graph.node.extend(helper.make_node("Mul", [f"{name}_before", "factor"], [name]) for name in outputs)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _with_graph(root: Path, graph: bytes, *, gate: GateReport | None = None) -> Bundle:
    """A bundle whose recorded outputs are those of the plain graph, in FP32 or, with a gate, as INT8."""
    bundle = tiny_bundle(root)
    if gate is None:
        return bundle.with_graph("fp32", graph_info(), {"model.onnx": graph})
    return bundle.with_graph(
        "int8", GraphInfo(file="int8.onnx", threshold=threshold(), gate=gate), {"int8.onnx": graph}
    )


PASSED = GateReport(passed=True, checks={}, limits={"map_correlation": 0.95})


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_that_gives_the_recorded_outputs_passes(tmp_path: Path, backend: str) -> None:
    Verification()(tiny_bundle(tmp_path / "line"), backend=backend)


@pytest.mark.parametrize("outputs", [("score",), ("anomaly_map",), ("score", "anomaly_map")])
@pytest.mark.parametrize("factor", [0.01, 0.9, 1.1, -1.0, float("nan"), float("inf")])
def test_an_engine_with_other_scores_or_maps_is_refused(
    tmp_path: Path, factor: float, outputs: tuple[str, ...]
) -> None:
    bundle = _with_graph(tmp_path / "line", _scaled(factor, outputs=outputs))
    with pytest.raises(BundleError, match="does not give the trained numbers"):
        Verification()(bundle, backend="onnxruntime")


@pytest.mark.parametrize("outputs", [("score",), ("anomaly_map",), ("score", "anomaly_map")])
@pytest.mark.parametrize("factor", [0.01, 3.0, float("nan")])
def test_a_quantised_engine_is_held_against_its_gate_and_against_the_level_of_the_scores(
    tmp_path: Path, factor: float, outputs: tuple[str, ...]
) -> None:
    Verification()(_with_graph(tmp_path / "good", _scaled(1.01, outputs=outputs), gate=PASSED), precision="int8")
    bundle = _with_graph(tmp_path / "line", _scaled(factor, outputs=outputs), gate=PASSED)
    with pytest.raises(BundleError, match="does not give the trained numbers"):
        Verification()(bundle, precision="int8")


@pytest.mark.parametrize("gate", [None, PASSED.model_copy(update={"passed": False})], ids=["no gate", "failed gate"])
def test_a_quantised_engine_without_a_passed_gate_is_refused(tmp_path: Path, gate: GateReport | None) -> None:
    graph = GraphInfo(file="int8.onnx", threshold=threshold(), gate=gate)
    bundle = tiny_bundle(tmp_path / "line").with_graph("int8", graph, {"int8.onnx": deploy_graph()})
    with pytest.raises(BundleError, match="accuracy gate"):
        Verification()(bundle, precision="int8")


def test_a_gate_that_lets_everything_pass_does_not_open_the_line(tmp_path: Path) -> None:
    gate = PASSED.model_copy(update={"limits": {"map_correlation": -1.0}})
    bundle = _with_graph(tmp_path / "line", deploy_graph(seed=5), gate=gate)
    with pytest.raises(BundleError, match="correlate"):
        Verification()(bundle, precision="int8")


def test_a_bundle_without_recorded_outputs_is_refused_unless_asked(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "line", has_reference=False)
    with pytest.raises(BundleError, match="no recorded outputs") as caught:
        Verification()(bundle)
    assert "--allow-unverified" in caught.value.hint
    Verification(allow_unverified=True)(bundle)
    broken = bundle.with_graph("fp32", graph_info(), {"model.onnx": _scaled(float("nan"), outputs=("score",))})
    with pytest.raises(BundleError, match="not finite"):
        Verification(allow_unverified=True)(broken)


def test_what_passed_is_remembered_for_this_bundle_and_engine_only(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "line")
    Verification()(bundle, backend="onnxruntime")
    refuses_all = Verification()
    refuses_all.cancel()  # whatever has to be run is refused
    refuses_all(bundle, backend="onnxruntime")
    with pytest.raises(BundleError, match="not verified"):
        refuses_all(bundle, backend="openvino")
    changed = bundle.with_graph("fp32", graph_info(), {"model.onnx": deploy_graph(seed=1)})
    with pytest.raises(BundleError, match="not verified"):
        refuses_all(changed, backend="onnxruntime")


def test_what_failed_is_not_remembered(tmp_path: Path) -> None:
    bundle = _with_graph(tmp_path / "line", _scaled(0.01, outputs=("score",)))
    for _ in range(2):
        with pytest.raises(BundleError, match="trained numbers"):
            Verification()(bundle, backend="onnxruntime")
    assert not list((cache_folder() / "verified").glob("*"))


def test_where_nothing_can_be_remembered_it_is_verified_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "file"))  # a folder cannot be made below a file
    bundle = tiny_bundle(tmp_path / "line")
    Verification()(bundle)
    refuses_all = Verification()
    refuses_all.cancel()
    with pytest.raises(BundleError, match="not verified"):
        refuses_all(bundle)


def test_an_engine_that_never_answers_is_refused_when_its_time_is_over(
    tmp_path: Path, at_start_of_python: AtStart
) -> None:
    at_start_of_python("import time\ntime.sleep(3600)")
    with pytest.raises(BundleError, match=r"does not answer within 0\.5 s"):
        Verification(timeout_s=0.5)(tiny_bundle(tmp_path / "line"))


def test_a_verification_under_way_ends_when_it_is_cancelled(tmp_path: Path, at_start_of_python: AtStart) -> None:
    begun = tmp_path / "begun"
    at_start_of_python(f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(3600)")
    bundle, verification, problems = tiny_bundle(tmp_path / "line"), Verification(), list[str]()

    def verify() -> None:
        with pytest.raises(BundleError) as caught:
            verification(bundle)
        problems.append(caught.value.message)

    thread = threading.Thread(target=verify)
    thread.start()
    wait_until(begun.exists, timeout_s=60.0)
    verification.cancel()
    thread.join(60.0)
    assert "the stream ends" in problems[0]


def test_a_crash_of_the_engine_is_a_refused_bundle(tmp_path: Path, at_start_of_python: AtStart) -> None:
    at_start_of_python("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(BundleError, match="SIGSEGV"):
        Verification()(tiny_bundle(tmp_path / "line"))


@pytest.mark.parametrize(
    "change",
    [
        lambda outputs: replace(outputs, scores=np.full_like(outputs.scores, np.nan)),
        lambda outputs: replace(outputs, maps=np.full_like(outputs.maps, np.inf)),
        lambda outputs: replace(outputs, images=outputs.images[:0], scores=outputs.scores[:0], maps=outputs.maps[:0]),
    ],
    ids=["score", "map", "none"],
)
def test_recorded_outputs_are_finite_and_of_a_photo(change: Callable[[Reference], Reference]) -> None:
    outputs = recorded_outputs(deploy_graph())
    with pytest.raises(BundleError, match=r"finite numbers|at least one image"):
        change(outputs)


def _dependent_on_the_batch(root: Path) -> Bundle:
    """A bundle whose graph divides its scores by the number of frames in one call."""
    model = onnx.load_from_string(deploy_graph())
    model.graph.node[-1].output[0] = "highest"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "axis"))
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["image"], ["shape"]),
            helper.make_node("Gather", ["shape", "axis"], ["count"]),
            helper.make_node("Cast", ["count"], ["frames"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Div", ["highest", "frames"], ["score"]),
        ]
    )
    return tiny_bundle(root).with_graph("fp32", graph_info(), {"model.onnx": model.SerializeToString()})


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_is_verified_with_as_many_frames_in_one_call_as_the_stream_gives_it(
    tmp_path: Path, backend: str
) -> None:
    bundle = _dependent_on_the_batch(tmp_path / "line")
    Verification()(bundle, backend=backend)
    with pytest.raises(BundleError, match="2 in one call"):
        Verification(batch=2)(bundle, backend=backend)
    Verification(batch=2)(tiny_bundle(tmp_path / "sound"), backend=backend)


def test_an_engine_is_verified_with_several_frames_in_flight(tmp_path: Path) -> None:
    bundle, other = tiny_bundle(tmp_path / "line"), tiny_bundle(tmp_path / "other", seed=3)
    engine, wrong = (build_engine(item, backend="openvino") for item in (bundle, other))
    for name in ("model.xml", "model.bin"):  # what is compiled for a stream of files; the blob is for one frame
        shutil.copy(wrong.path / name, engine.path / name)
    hashes = {name: sha256_file(engine.path / name) for name in engine.sidecar.files}
    sidecar = engine.sidecar.model_copy(update={"files": hashes})
    (engine.path / "engine.json").write_text(sidecar.model_dump_json())
    with pytest.raises(BundleError, match="several in flight"):
        Verification()(bundle, backend="openvino")


def test_a_score_is_held_against_its_threshold_where_the_range_of_the_map_is_no_measure(tmp_path: Path) -> None:
    small = _scaled(1e-4, outputs=("score", "anomaly_map"))
    info = GraphInfo(file="model.onnx", threshold=threshold(5e-5))
    reference = recorded_outputs(small).to_bytes()
    bundle = tiny_bundle(tmp_path / "line").with_graph("fp32", info, {"model.onnx": small, "reference.npz": reference})
    Verification()(bundle, backend="onnxruntime")
    dead = bundle.with_graph("fp32", info, {"model.onnx": _scaled(0.0, outputs=("score", "anomaly_map"))})
    with pytest.raises(BundleError, match="trained numbers"):
        Verification()(dead, backend="onnxruntime")


def test_a_bundle_that_is_replaced_while_it_is_verified_is_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "line")
    with pytest.raises(BundleError, match="replaced"):
        verify(bundle.root, "0" * 64, backend="onnxruntime", precision="fp32")


class _Then(Verification):
    """A verification after which something happens, before the engine is opened."""

    def __init__(self, what: Callable[[Bundle], object]) -> None:
        super().__init__()
        self._what = what

    def __call__(self, bundle: Bundle, **choice: Any) -> EngineIdentity:
        verified = super().__call__(bundle, **choice)
        self._what(bundle)
        return verified


def _replace_content(bundle: Bundle, name: str, content: bytes) -> None:
    """Change a file of the only engine directory, and what its sidecar says of it."""
    (sidecar,) = bundle.root.glob("engines/*/engine.json")
    (sidecar.parent / name).write_bytes(content)
    document = json.loads(sidecar.read_bytes())
    document["files"][name] = sha256_file(sidecar.parent / name)
    sidecar.write_text(json.dumps(document))


def test_an_engine_that_is_built_after_another_was_verified_does_not_judge(tmp_path: Path) -> None:
    root = tiny_bundle(tmp_path / "line").root
    meanwhile = _Then(lambda bundle: build_engine(bundle, backend="openvino"))
    opened = open_bundle(root, backend="openvino", verification=meanwhile)
    assert opened.judging.engine.describe().source == "model.onnx, built in memory"
    opened.stack.close()
    opened = open_bundle(root, backend="openvino")
    assert opened.judging.engine.describe().source.startswith("engines/")
    opened.stack.close()


def test_an_engine_that_is_replaced_after_it_was_verified_does_not_judge(tmp_path: Path) -> None:
    bundle, other = tiny_bundle(tmp_path / "line"), tiny_bundle(tmp_path / "other", seed=3)
    wrong = (build_engine(other, backend="onnxruntime").path / "model.ort").read_bytes()
    build_engine(bundle, backend="onnxruntime")
    meanwhile = _Then(lambda bundle: _replace_content(bundle, "model.ort", wrong))
    with pytest.raises(BundleError, match="changed while it was verified"):
        open_bundle(bundle.root, backend="onnxruntime", verification=meanwhile)


def test_what_passed_from_the_graph_does_not_vouch_for_an_engine_that_loads_later(tmp_path: Path) -> None:
    bundle, other = tiny_bundle(tmp_path / "line"), tiny_bundle(tmp_path / "other", seed=3)
    wrong = (build_engine(other, backend="onnxruntime").path / "model.ort").read_bytes()
    build_engine(bundle, backend="onnxruntime")
    _replace_content(bundle, "model.ort", b"not loadable today")
    verified = Verification()(bundle, backend="onnxruntime")
    assert (verified.open_from, verified.source) == ("graph", "model.onnx, built in memory")
    opened = open_bundle(bundle.root, backend="onnxruntime")
    assert opened.judging.engine.describe().source == "model.onnx, built in memory"
    opened.stack.close()
    _replace_content(bundle, "model.ort", wrong)
    with pytest.raises(BundleError, match="trained numbers"):
        open_bundle(bundle.root, backend="onnxruntime")


def test_an_engine_that_loaded_when_it_was_verified_and_does_not_now_gives_way_to_its_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle(tmp_path / "line")
    build_engine(bundle, backend="onnxruntime")
    Verification()(bundle, backend="onnxruntime")
    load = onnxruntime.InferenceSession

    def only_graphs(content: bytes, *arguments: Any, **options: Any) -> onnxruntime.InferenceSession:
        if content == (next(bundle.root.glob("engines/*")) / "model.ort").read_bytes():
            raise RuntimeError("no such kernel")
        return load(content, *arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", only_graphs)
    opened = open_bundle(bundle.root, backend="onnxruntime")
    assert opened.judging.engine.describe().source == "model.onnx, built in memory"
    opened.stack.close()


_CRASH_UNLESS_GRAPH = """
import os, signal, sys
if '"root"' in sys.orig_argv[-1] and '"open_from": "graph"' not in sys.orig_argv[-1]:
    os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_compiled_engine_that_crashes_gives_way_to_its_graph(
    tmp_path: Path, at_start_of_python: AtStart, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = tiny_bundle(tmp_path / "line")
    build_engine(bundle, backend="openvino")
    at_start_of_python(_CRASH_UNLESS_GRAPH)
    opened = open_bundle(bundle.root, backend="openvino")
    assert opened.judging.engine.describe().source == "model.onnx, built in memory"
    opened.stack.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "SIGSEGV. Its graph is compiled instead" in caplog.text


def test_an_engine_that_crashes_while_it_loads_is_built_again(tmp_path: Path, at_start_of_python: AtStart) -> None:
    bundle, said = tiny_bundle(tmp_path / "line"), list[str]()
    build_engine(bundle, backend="openvino")
    at_start_of_python(_CRASH_UNLESS_GRAPH)
    (built,) = build_engines(bundle.root, backend="openvino", precisions=["fp32"], log=said.append)
    assert not built.was_current
    assert any("does not load here" in text and "SIGSEGV" in text for text in said)
