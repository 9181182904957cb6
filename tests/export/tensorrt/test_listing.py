"""Reading what TensorRT lists of its layers: the log of TensorRT for RTX, and the inspector's JSON."""

import json
from pathlib import Path

import pytest

from edge_ad.bundle.plan_layers import PlanLayer, convolution_share, count_types, layers_to_bytes, read_layers
from edge_ad.errors import BundleError
from edge_ad.export.tensorrt.listing import layers_from_inspector, layers_from_log, with_convolutions

INT8_CONVOLUTION = (
    "Name: head_myl0_2, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,240,8,8], Strides: [1,1,1,1], "
    "StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: bias, "
    "Dimensions: [1,40,1,1], Datatype: Float, Format: x }, { Name: w, Dimensions: [40,240,1,1], Datatype: Int8, "
    "Format: x }], Outputs: [ { Name: b, Dimensions: [-1,40,8,8], Datatype: Float, Format: x }], "
    "TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: net.0.head][ONNX Layer: relu/dequantise]"
)
EPILOGUE = (
    "Name: __myl_MulAdd_myl0_3, LayerType: kgen, Inputs: [ { Name: b, Dimensions: [-1,40,8,8], Datatype: Float, "
    "Format: x }], Constants: [ { Name: bias, Dimensions: [1,40,1,1], Datatype: Float, Format: x }], "
    "Outputs: [ { Name: c, Dimensions: [-1,40,8,8], Datatype: Half, Format: x }], TacticName: t, StreamId: 0, "
    "Metadata: [ONNX Layer: net.0.head][ONNX Layer: Add]"
)
SHAPES = (
    "Name: shapes, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: "
)


def test_a_line_of_the_log_becomes_a_layer_with_its_types_and_nodes() -> None:
    ((layer, elements), _, (empty, none)) = layers_from_log(
        f"Layers:\n{INT8_CONVOLUTION}\n{EPILOGUE}\n{SHAPES}\n\nI/O:"
    )
    assert layer == PlanLayer(
        name="head_myl0_2",
        type="correlation",
        inputs=["int8"],
        outputs=["fp32"],
        weights="int8",
        nodes=["net.0.head", "relu/dequantise"],
    )
    assert elements == 40 * 240
    assert (empty.inputs, empty.weights, empty.nodes, none) == ([], "", [], 0)


def test_a_convolution_belongs_to_the_layer_with_its_weights_and_not_to_that_with_its_bias() -> None:
    layers = with_convolutions(layers_from_log(f"{EPILOGUE}\n{INT8_CONVOLUTION}"), {"net.0.head": 614400})
    assert [layer.macs for layer in layers] == [0, 614400]
    assert convolution_share(layers).int8 == 1.0


def test_a_convolution_that_no_layer_names_is_reported_and_counts_as_float() -> None:
    layers = with_convolutions(layers_from_log(INT8_CONVOLUTION), {"net.0.head": 300, "lost": 100})
    assert (layers[-1].type, layers[-1].nodes) == ("not listed", ["lost"])
    share = convolution_share(layers)
    assert share.int8 == 0.75
    assert share.floats == {"lost": 100}


@pytest.mark.parametrize(
    "tensor",
    [
        {"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"},  # 8.6
        {"Format": "Row major Int8", "Datatype": "Int8"},
        {"Format": "N/A", "DataType": "Int8"},
    ],
)
def test_the_inspectors_ways_to_name_a_type_are_read(tensor: dict[str, str]) -> None:
    entry = {
        "Name": "head",
        "LayerType": "CaskConvolution",
        "ParameterType": "Convolution",
        "Inputs": [{"Name": "a", "Dimensions": [1, 8, 4, 4], **tensor}],
        "Outputs": [{"Name": "b", "Dimensions": [1, 8, 4, 4], "Format/Datatype": "Row major linear FP16 format"}],
        "Weights": {"Type": "Int8", "Count": 576},
        "Metadata": "[ONNX Layer: relu/quantise]\x1e[ONNX Layer: head]",
    }
    ((layer, elements),) = layers_from_inspector(json.dumps({"Layers": [entry], "Bindings": ["image"]}))
    assert (layer.type, layer.inputs, layer.outputs, layer.weights) == ("Convolution", ["int8"], ["fp16"], "int8")
    assert layer.nodes == ["relu/quantise", "head"]
    assert elements == 576
    assert layer.is_int8


def test_a_plan_that_lists_names_alone_is_listed_by_name() -> None:
    assert layers_from_inspector('{"Layers": ["conv1 + relu"]}') == [(PlanLayer(name="conv1 + relu", type=""), 0)]


def test_int8_activations_with_float_weights_are_no_int8_convolution() -> None:
    layer = PlanLayer(name="a", type="c", inputs=["int8"], weights="fp32", convolutions={"a": 5})
    assert convolution_share([layer]).int8 == 0.0
    assert count_types([layer]) == [("c", "int8", 1)]


def test_the_list_survives_the_file_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    layers = [layer for layer, _ in layers_from_log(f"{INT8_CONVOLUTION}\n{EPILOGUE}")]
    (tmp_path / "layers.json").write_bytes(layers_to_bytes(layers))
    assert read_layers(tmp_path) == layers
    assert read_layers(tmp_path / "other") == []
    (tmp_path / "layers.json").write_bytes(b"[{]")
    with pytest.raises(BundleError, match=r"layers\.json cannot be read"):
        read_layers(tmp_path)
