"""Which ONNX files no backend is given: written by the ``onnx`` package, refused without it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edge_ad.bundle.graph_file import check_graph_file
from edge_ad.errors import BundleError
from tests.runtime.tiny_bundle import deploy_graph


def refusal(content: bytes) -> str:
    """What is said about a file; empty where it is accepted."""
    try:
        check_graph_file(content, Path("model.onnx"))
    except BundleError as error:
        return error.message
    return ""


def external(name: str = "weights", *, entries: bool = True) -> TensorProto:
    tensor = TensorProto(name=name, dims=[2], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    if entries:
        tensor.external_data.add(key="location", value="../weights.bin")
    return tensor


def sparse(part: str) -> onnx.SparseTensorProto:
    tensor = onnx.SparseTensorProto(dims=[2])
    getattr(tensor, part).CopyFrom(external())
    return tensor


def branch() -> onnx.GraphProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    return helper.make_graph([helper.make_node("Identity", ["score"], ["x"])], "branch", [], [value])


def _attribute(model: ModelProto, attribute: onnx.AttributeProto) -> None:
    model.graph.node.add(op_type="Constant", output=["unused"]).attribute.append(attribute)


def _constant(model: ModelProto) -> None:
    _attribute(model, helper.make_attribute("value", external()))


def _constants(model: ModelProto) -> None:
    _attribute(model, onnx.AttributeProto(name="values", type=onnx.AttributeProto.TENSORS, tensors=[external()]))


def _sparse_constant(model: ModelProto) -> None:
    _attribute(model, helper.make_attribute("sparse_value", sparse("values")))


def _sparse_constants(model: ModelProto) -> None:
    kind = onnx.AttributeProto.SPARSE_TENSORS
    _attribute(model, onnx.AttributeProto(name="v", type=kind, sparse_tensors=[sparse("indices")]))


_EXTERNAL: dict[str, Callable[[ModelProto], object]] = {
    "initializer": lambda model: model.graph.initializer.append(external()),
    "without entries": lambda model: model.graph.initializer.append(external(entries=False)),
    "entries alone": lambda model: model.graph.initializer[0].external_data.add(key="location", value="w"),
    "sparse values": lambda model: model.graph.sparse_initializer.append(sparse("values")),
    "sparse indices": lambda model: model.graph.sparse_initializer.append(sparse("indices")),
    "attribute": _constant,
    "attributes": _constants,
    "sparse attribute": _sparse_constant,
    "sparse attributes": _sparse_constants,
}


@pytest.mark.parametrize("where", _EXTERNAL)
def test_weights_in_another_file_are_found_wherever_a_tensor_can_be(where: str) -> None:
    model = onnx.load_from_string(deploy_graph())
    _EXTERNAL[where](model)
    assert "weights in another file" in refusal(model.SerializeToString())


def test_a_model_that_onnx_saved_with_external_data_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(deploy_graph())
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert (tmp_path / "w.bin").stat().st_size > 0
    assert "weights in another file" in refusal((tmp_path / "m.onnx").read_bytes())


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan", "SequenceMap"])
def test_control_flow_is_refused_by_its_operator_and_by_its_graphs(operator: str) -> None:
    bare, whole = (onnx.load_from_string(deploy_graph()) for _ in range(2))
    bare.graph.node.add(op_type=operator)
    assert f"control flow ({operator})" in refusal(bare.SerializeToString())
    whole.graph.node.append(helper.make_node("Unknown", [], ["y"], body=branch()))
    assert "control flow" in refusal(whole.SerializeToString())
    whole.graph.node[-1].attribute[0].CopyFrom(helper.make_attribute("bodies", [branch()]))
    assert "control flow" in refusal(whole.SerializeToString())


def test_functions_trainings_and_foreign_operators_are_refused() -> None:
    model = onnx.load_from_string(deploy_graph())
    model.functions.add(name="f", domain="here")
    assert "functions of its own" in refusal(model.SerializeToString())
    model = onnx.load_from_string(deploy_graph())
    model.training_info.add()
    assert "steps of a training" in refusal(model.SerializeToString())
    model = onnx.load_from_string(deploy_graph())
    model.graph.node[0].domain = "com.microsoft"
    assert "operators of 'com.microsoft'" in refusal(model.SerializeToString())


def test_a_graph_that_is_complete_in_itself_is_accepted() -> None:
    model = onnx.load_from_string(deploy_graph())
    model.graph.node[0].domain = "ai.onnx"
    model.graph.initializer.append(numpy_helper.from_array(np.arange(3.0), "doubles"))
    model.graph.initializer.append(helper.make_tensor("listed", TensorProto.FLOAT, [2], [1.0, 2.0]))
    helper.set_model_props(model, {"external_data": "Loop"})
    model.graph.node[1].name = "Loop"
    assert refusal(deploy_graph()) == refusal(model.SerializeToString()) == ""


def test_what_is_cut_off_is_refused_at_every_length_where_onnx_refuses_it() -> None:
    content = deploy_graph()
    for length in range(0, len(content), 7):
        try:
            ModelProto.FromString(content[:length])
        except Exception:  # protobuf's own
            assert "no complete ONNX graph" in refusal(content[:length])


@pytest.mark.parametrize("content", [b"text", b"\0" * 9, b"\x0b", b"\xff" * 20, b"\x3a\xff\xff\xff\xff\x0f", b"\x3a"])
def test_what_is_no_protocol_buffer_is_refused(content: bytes) -> None:
    assert "no complete ONNX graph" in refusal(content)
