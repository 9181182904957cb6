"""FP32 graph → FP16 graph: tensors and weights in half precision, Cast only where FP16 and FP32 nodes meet.

The graph carries its own precision, so that a strongly typed TensorRT build takes it as it is. Its inputs and outputs
keep their types.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from edge_ad.calibration.graph import (
    add_constant,
    attribute,
    constants,
    drop_unused,
    infer_shapes,
    replace_nodes,
    set_attribute,
)

__all__ = ["convert_to_fp16", "float_tensors", "half_inputs", "round_tensors"]

_FLOAT32_INPUTS = {"Resize": (1, 2)}  # region and scales are float32 whatever the type of the data


def float_tensors(model: ModelProto) -> set[str]:
    """Names of the float32 tensors of a graph, constants included."""
    typed = ModelProto.FromString(model.SerializeToString())
    infer_shapes(typed)
    infos = (*typed.graph.value_info, *typed.graph.input, *typed.graph.output)
    names = {item.name for item in infos if item.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}


def half_inputs(node: NodeProto, floats: Collection[str]) -> list[int]:
    """Places of the inputs of a node that are FP16 when the node is."""
    fixed = _FLOAT32_INPUTS.get(node.op_type, ())
    if node.op_type == "Cast":
        return []  # it takes any type: only its result changes
    return [place for place, name in enumerate(node.input) if name in floats and place not in fixed]


def convert_to_fp16(model: ModelProto, kept: Collection[str]) -> ModelProto:
    """Convert the nodes of a graph to FP16.

    Args:
        model: FP32 graph in topological order, every node named; it is left as it is.
        kept: Names of the nodes that stay in FP32.

    Returns:
        The graph in FP16, in topological order and accepted by ``onnx.checker``.
    """
    half = ModelProto.FromString(model.SerializeToString())
    _Conversion(half, kept).run()
    drop_unused(half)
    infer_shapes(half)
    checker.check_model(half, full_check=True)
    return half


class _Conversion:
    """One pass over the nodes; a tensor on both sides has its FP32 form under its own name, FP16 under a new one."""

    def __init__(self, model: ModelProto, kept: Collection[str]) -> None:
        self._model = model
        self._floats = float_tensors(model)
        self._values = {name: tensor for name, tensor in constants(model).items() if name in self._floats}
        self._is_half = _chooser(kept, self._floats)
        self._needed_in_float = self._read_in_float()
        names = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._taken = names | {node.name for node in model.graph.node} | {item.name for item in model.graph.input}
        self._halves: dict[str, str] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        for node in self._model.graph.node:
            if self._is_half(node):
                self._convert(node)
            else:
                self._nodes.append(node)
        replace_nodes(self._model, self._nodes)

    def _read_in_float(self) -> set[str]:
        """Tensors that a node in FP32, or the user of the graph, reads."""
        needed = {output.name for output in self._model.graph.output}
        for node in self._model.graph.node:
            as_half = half_inputs(node, self._floats) if self._is_half(node) else []
            needed.update(name for place, name in enumerate(node.input) if place not in as_half)
        return needed

    def _convert(self, node: NodeProto) -> None:
        for place in half_inputs(node, self._floats):
            node.input[place] = self._half(node.input[place])
        if node.op_type == "Cast" and attribute(node, "to") == TensorProto.FLOAT:
            set_attribute(node, "to", TensorProto.FLOAT16)
        self._nodes.append(node)
        for place, name in enumerate(node.output):
            if name not in self._floats:
                continue
            self._halves[name] = name
            if name in self._needed_in_float:
                node.output[place] = self._halves[name] = self._free(f"{name}.fp16")
                self._cast(node.output[place], name, TensorProto.FLOAT)

    def _half(self, name: str) -> str:
        if name not in self._halves:
            if name in self._values:
                value = numpy_helper.to_array(self._values[name]).astype(np.float16)
                self._halves[name] = add_constant(self._model, self._free(f"{name}.fp16"), value)
            else:
                self._halves[name] = self._free(f"{name}.fp16")
                self._cast(name, self._halves[name], TensorProto.FLOAT16)
        return self._halves[name]

    def _cast(self, source: str, target: str, kind: int) -> None:
        suffix = "fp32" if kind == TensorProto.FLOAT else "fp16"
        self._nodes.append(helper.make_node("Cast", [source], [target], self._free(f"{source}/to_{suffix}"), to=kind))

    def _free(self, name: str) -> str:
        free, count = name, 1
        while free in self._taken:
            count += 1
            free = f"{name}_{count}"
        self._taken.add(free)
        return free


def _chooser(kept: Collection[str], floats: Collection[str]) -> Callable[[NodeProto], bool]:
    def is_half(node: NodeProto) -> bool:
        return node.name not in kept and any(name in floats for name in node.output)

    return is_half


def round_tensors(half: ModelProto) -> ModelProto:
    """Compute every node in FP32 and round what it makes to FP16, as matrix units with FP32 sums do.

    ONNX Runtime and OpenVINO compute an FP16 graph in float32 on most CPUs and leave out the rounding in between, so
    that their engines show neither the lost digits nor an overflow that a GPU would.

    Args:
        half: FP16 graph, as `convert_to_fp16` makes it; it is left as it is.

    Returns:
        A graph for ONNX Runtime, which does not leave out a Cast that is written down.
    """
    model = ModelProto.FromString(half.SerializeToString())
    infer_shapes(model)
    halves = {item.name for item in model.graph.value_info if item.type.tensor_type.elem_type == TensorProto.FLOAT16}
    widened = _widen_constants(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        made = [name for name in node.output if name in halves]
        nodes.append(node)
        if made and node.op_type != "Cast":
            node.input[:] = [_wide(name) if name in halves and name not in widened else name for name in node.input]
            node.output[:] = [f"{name}.exact" if name in halves else name for name in node.output]
            nodes.extend(_cast(f"{name}.exact", name, TensorProto.FLOAT16) for name in made)
        nodes.extend(_cast(name, _wide(name), TensorProto.FLOAT) for name in made)
    replace_nodes(model, nodes)
    del model.graph.value_info[:]
    checker.check_model(model, full_check=True)
    return model


def _widen_constants(model: ModelProto) -> set[str]:
    """Make FP16 constants FP32, with the values that FP16 left them."""
    widened = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            value = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
            widened.add(tensor.name)
    return widened


def _wide(name: str) -> str:
    return f"{name}.wide"


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"rounding:{target}", to=kind)
