"""Parts of a graph in float32 while the rest is in bfloat16: marked in the IR, kept by OpenVINO, and checked."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edge_ad.calibration.graph_runner import open_graph
from edge_ad.errors import BundleError, DeviceError
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.openvino.api import openvino_api
from edge_ad.runtime.openvino.engine import (
    OpenVinoEngine,
    check_float32,
    is_part,
    keep_float32,
    mark_float32,
    save_openvino,
)
from edge_ad.runtime.target import processor
from tests.export.graphs import graph
from tests.runtime.tiny_bundle import threshold

IR = """<net name="n"><layers>
<layer id="0" name="image" type="Parameter"/>
<layer id="1" name="net.first" type="Convolution"><rt_info><attribute name="fused_names" version="0"/></rt_info></layer>
<layer id="2" name="net.first/WithoutBiases" type="Add"/>
<layer id="3" name="net.firstly" type="ReLU"/>
<layer id="4" name="net.first.weight" type="Const"/>
</layers></net>"""

needs_bf16 = pytest.mark.skipif(not processor().has_bf16, reason="this processor has no bfloat16")


def marked(ir: str) -> set[str]:
    layers = ET.fromstring(ir).iter("layer")
    return {layer.get("name", "") for layer in layers if layer.find("rt_info/attribute[@name='precise']") is not None}


def test_a_part_stands_for_what_goes_on_with_its_name() -> None:
    assert [
        is_part(name, "net.first") for name in ("net.first", "net.first/x", "net.first.y", "net.firstly", "net")
    ] == [
        *([True] * 3),
        *([False] * 2),
    ]


def test_marking_leaves_constants_other_layers_and_other_marks_alone() -> None:
    ir = mark_float32(IR, ["net.first"])
    assert marked(ir) == {"net.first", "net.first/WithoutBiases"}
    assert 'name="fused_names"' in ir
    assert mark_float32(ir, ["net.first"]) == ir  # a second time changes nothing
    assert marked(mark_float32(IR, [])) == set()


def test_a_part_that_the_graph_lacks_is_refused() -> None:
    with pytest.raises(BundleError, match=r"has no part net\.second"):
        mark_float32(IR, ["net.second"])


def two_convolutions() -> Any:
    """A deploy graph of two convolutions of 16 channels, ``first`` and ``second``."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(16, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(1, 16, 3, 3)).astype(np.float32),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], "cast", to=1),
        helper.make_node("Transpose", ["cast"], ["x"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "w"], ["y"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["y"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "v"], ["z"], "second", pads=[1] * 4),
        helper.make_node("Squeeze", ["z", "axis"], ["anomaly_map"], "squeeze"),
        helper.make_node("ReduceMax", ["anomaly_map"], ["score"], "max", axes=[1, 2], keepdims=0),
    ]
    model = graph(nodes, {"image": ["N", 32, 32, 3]}, {"score": ["N"], "anomaly_map": ["N", 32, 32]}, weights)
    model.graph.input[0].type.tensor_type.elem_type = 2  # uint8
    return model


def maps(precision: Any, float32: list[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    frames = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    with open_graph(two_convolutions(), "openvino", precision, threshold(), float32) as engine:
        return np.asarray(engine.infer(frames)[0].anomaly_map)


@needs_bf16
def test_what_is_kept_in_float32_is_float32() -> None:
    exact = maps("fp32", [])
    nothing, first, both = (
        np.abs(maps("bf16", parts) - exact).max() / np.abs(exact).max()
        for parts in ([], ["first"], ["cast", "transpose", "first", "relu", "second"])
    )
    assert both < 1e-6 < min(first, nothing)
    assert first != nothing


@needs_bf16
def test_a_saved_engine_keeps_what_its_graph_keeps(tmp_path: Path) -> None:
    onnx, parts = tmp_path / "model.onnx", ["cast", "transpose", "first", "relu", "second"]
    onnx.write_bytes(two_convolutions().SerializeToString())
    source = EngineSource(onnx, "bf16", (32, 32), threshold(), None, "", "test", float32=parts)
    (tmp_path / "engine").mkdir()
    save_openvino(source, tmp_path / "engine")
    frames = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    # One frame runs from the compiled graph, two from the IR; another version reads the IR for one frame too.
    for version in (OpenVinoEngine(source).describe().version, "0"):
        with OpenVinoEngine(source.saved_in(tmp_path / "engine", version)) as engine:
            for batch in (frames[:1], frames):
                np.testing.assert_allclose(engine.infer(batch)[0].anomaly_map, _exact(frames), rtol=1e-5, atol=1e-2)


def _exact(frames: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    with open_graph(two_convolutions(), "openvino", "fp32", threshold()) as engine:
        return np.asarray(engine.infer(frames[:1])[0].anomaly_map)


@needs_bf16
def test_an_openvino_that_ignores_the_marks_is_refused() -> None:
    core = openvino_api().Core()
    model = core.read_model(two_convolutions().SerializeToString())
    model.reshape([1, 32, 32, 3])
    settings = {"INFERENCE_PRECISION_HINT": "bf16"}
    check_float32(core.compile_model(keep_float32(core, model, ["second"]), "CPU", settings), ["second"])
    unmarked = core.compile_model(model, "CPU", settings)
    check_float32(unmarked, [])
    with pytest.raises(DeviceError, match="computes second in bfloat16"):
        check_float32(unmarked, ["second"])
