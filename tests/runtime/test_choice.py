"""Which precision runs: what was asked for and can be had, or the fastest that passed its gate."""

from pathlib import Path

import numpy as np
import pytest

from edge_ad.bundle import Bundle, Reference, find_engine, record_latency
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.manifest import GraphInfo, Precision
from edge_ad.runtime import build_engine, open_engine
from edge_ad.runtime.engines import choose_precision, engine_key
from edge_ad.runtime.target import Processor, processor
from edge_ad.runtime.timing import record_latencies
from tests.runtime.tiny_bundle import SIZE_HW, graph_info, tiny_bundle

ALL: dict[Precision, GraphInfo] = {
    "fp32": graph_info(),
    "bf16": graph_info(gate_passed=True),
    "int8": graph_info("model.int8.onnx", gate_passed=True),
    "int8-bf16": graph_info("model.int8.onnx", gate_passed=True),
}


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("avx2", "avx512f", "amx_bf16")
    monkeypatch.setattr(
        "edge_ad.runtime.openvino.backend.processor", lambda: Processor("x86_64", "test", flags, processor().target)
    )


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edge_ad.runtime.openvino.backend.processor",
        lambda: Processor("x86_64", "test", ("avx2",), processor().target),
    )


@pytest.mark.parametrize(("passed", "expected"), [(True, "int8"), (False, "fp32"), (None, "fp32")])
def test_auto_is_int8_only_when_its_gate_passed(tmp_path: Path, passed: bool | None, expected: str) -> None:
    graphs: dict[Precision, GraphInfo] = {
        "fp32": graph_info(),
        "int8": graph_info("model.int8.onnx", gate_passed=passed),
    }
    bundle = tiny_bundle(tmp_path / "bundle", graphs)
    assert choose_precision(bundle) == expected
    assert choose_precision(bundle, "int8") == "int8"


@pytest.mark.usefixtures("with_bf16")
def test_auto_takes_bfloat16_where_the_backend_and_the_processor_have_it(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", ALL)
    assert choose_precision(bundle, backend="openvino") == "int8-bf16"
    assert choose_precision(bundle, backend="onnxruntime") == "int8"


@pytest.mark.usefixtures("without_bf16")
def test_bfloat16_is_refused_where_the_processor_lacks_it(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", ALL)
    assert choose_precision(bundle, backend="openvino") == "int8"
    with pytest.raises(DeviceError, match="no bfloat16 instructions"):
        choose_precision(bundle, "bf16", backend="openvino")


def test_bfloat16_is_only_openvinos(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnxruntime has no bf16 mode"):
        open_engine(tiny_bundle(tmp_path / "bundle", ALL), backend="onnxruntime", precision="bf16")


def test_auto_takes_the_fastest_of_the_engines_that_were_measured_here(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", {"fp32": ALL["fp32"], "int8": ALL["int8"]})
    fp32 = build_engine(bundle, backend="onnxruntime", precision="fp32")
    record_latency(fp32, 1.0)
    assert choose_precision(bundle) == "int8"  # which was not measured
    int8 = build_engine(bundle, backend="onnxruntime", precision="int8")
    record_latency(int8, 2.0)
    assert choose_precision(bundle) == "fp32"
    record_latency(int8, 0.5)
    assert choose_precision(bundle) == "int8"


def test_a_race_measures_every_engine_and_leaves_the_figure_beside_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, *SIZE_HW, 3), dtype=np.uint8)
    reference = Reference(images, np.zeros(3, np.float32), np.zeros((3, *SIZE_HW), np.float32))
    bundle = tiny_bundle(tmp_path / "bundle", {"fp32": ALL["fp32"], "int8": ALL["int8"]}, reference=reference)
    names: list[Precision] = ["fp32", "int8"]
    built = {name: build_engine(bundle, backend="onnxruntime", precision=name) for name in names}
    timed = record_latencies(bundle, "onnxruntime", built)
    for name in names:
        found = find_engine(bundle, engine_key("onnxruntime", name))
        assert found is not None
        assert found.sidecar == timed[name].sidecar
        assert found.sidecar.latency_ms is not None
        assert 0 < found.sidecar.latency_ms < 1000


def test_the_engine_of_one_precision_is_not_taken_for_another(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", ALL)
    if not processor().has_bf16:
        pytest.skip("this processor has no bfloat16")
    build_engine(bundle, backend="openvino", precision="int8-bf16")
    assert find_engine(bundle, engine_key("openvino", "int8")) is None
    found = find_engine(bundle, engine_key("openvino", "int8-bf16"))
    assert found is not None
    assert found.sidecar.options["inference_precision"] == "bf16"


def test_a_new_int8_graph_takes_its_bfloat16_gate_with_it(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle", ALL)
    again = bundle.with_graph("int8", ALL["int8"], {"model.int8.onnx": bundle.graph_path("fp32")})
    assert set(again.manifest.graphs) == {"fp32", "bf16", "int8"}
    assert set(Bundle.open(bundle.root).manifest.graphs) == {"fp32", "bf16", "int8"}


def test_a_precision_that_the_bundle_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no fp16 graph"):
        choose_precision(tiny_bundle(tmp_path / "bundle"), "fp16")
