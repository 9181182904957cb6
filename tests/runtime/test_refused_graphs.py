"""Graphs that a backend loads and that are no deploy graphs: one clear error each, from every way into the engine."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_ad.bundle import Bundle, write_bundle
from edge_ad.errors import BundleError, EdgeAdError
from edge_ad.runtime import open_engine
from tests.runtime.tiny_bundle import SIZE_HW, deploy_graph, tiny_bundle

BACKENDS = ("openvino", "onnxruntime")
FRAME = np.zeros((1, *SIZE_HW, 3), np.uint8)


def _renamed(model: onnx.ModelProto, name: str) -> None:
    for node in model.graph.node:
        node.output[:] = [f"{name}_before" if output == name else output for output in node.output]
        node.input[:] = [f"{name}_before" if taken == name else taken for taken in node.input]


def cast(name: str, kind: int) -> bytes:
    """A deploy graph with an output of another type."""
    model = onnx.load_from_string(deploy_graph())
    _renamed(model, name)
    model.graph.node.append(helper.make_node("Cast", [f"{name}_before"], [name], to=kind))
    next(item for item in model.graph.output if item.name == name).type.tensor_type.elem_type = kind
    return bytes(model.SerializeToString())


def reshaped(name: str, shape: list[int]) -> bytes:
    """A deploy graph with an output of another shape, which it does not declare."""
    model = onnx.load_from_string(deploy_graph())
    _renamed(model, name)
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "new_shape"))
    model.graph.node.append(helper.make_node("Reshape", [f"{name}_before", "new_shape"], [name]))
    next(item for item in model.graph.output if item.name == name).type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())


def sequence(name: str) -> bytes:
    """A deploy graph with a list of tensors where a tensor belongs."""
    model = onnx.load_from_string(deploy_graph())
    _renamed(model, name)
    model.graph.node.append(helper.make_node("SequenceConstruct", [f"{name}_before"], [name]))
    output = next(item for item in model.graph.output if item.name == name)
    output.CopyFrom(helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def float_input() -> bytes:
    model = onnx.load_from_string(deploy_graph())
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return bytes(model.SerializeToString())


_OTHER_TYPES = {
    "score float64": cast("score", TensorProto.DOUBLE),
    "score int64": cast("score", TensorProto.INT64),
    "map float16": cast("anomaly_map", TensorProto.FLOAT16),
    "map bool": cast("anomaly_map", TensorProto.BOOL),
    "input float32": float_input(),
}
_OTHER_SHAPES = {
    "score of rank 2": reshaped("score", [-1, 1]),
    "score of rank 0": reshaped("score", []),
    "flat map": reshaped("anomaly_map", [-1]),
    "map of rank 4": reshaped("anomaly_map", [-1, 1, *SIZE_HW]),
    "turned map": reshaped("anomaly_map", [-1, SIZE_HW[1], SIZE_HW[0]]),
}


def bundle_of(root: Path, graph: bytes) -> Bundle:
    return write_bundle(root, tiny_bundle(root).manifest, {"model.onnx": graph})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", _OTHER_TYPES)
def test_other_types_are_refused_when_the_engine_is_opened(tmp_path: Path, backend: str, kind: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", _OTHER_TYPES[kind])
    with pytest.raises(BundleError, match="and a deploy graph as"), open_engine(bundle, backend=backend):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", _OTHER_SHAPES)
def test_other_shapes_are_refused_by_the_first_inference(tmp_path: Path, backend: str, kind: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", _OTHER_SHAPES[kind])
    with open_engine(bundle, backend=backend, threads=1) as engine:
        with pytest.raises(BundleError, match=r"graph gives .* for 1 images, not float32 \(1,\)"):
            engine.infer(FRAME)
        with pytest.raises(BundleError, match=r"graph gives .* for 1 images, not float32 \(1,\)"):
            list(engine.infer_many([FRAME] * 3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["score", "anomaly_map"])
def test_a_list_where_a_tensor_belongs_is_refused(tmp_path: Path, backend: str, name: str) -> None:
    bundle = bundle_of(tmp_path / "bundle", sequence(name))
    with pytest.raises(EdgeAdError), open_engine(bundle, backend=backend, threads=1) as engine:
        engine.infer(FRAME)
