"""Looking things up in an ONNX graph, and the few edits that every pass makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

__all__ = [
    "add_constant",
    "attribute",
    "constants",
    "consumers",
    "cut_graph",
    "drop_unused",
    "infer_shapes",
    "producers",
    "remove_nodes",
    "replace_nodes",
    "replace_uses",
    "set_attribute",
    "with_outputs",
]


def constants(model: ModelProto) -> dict[str, TensorProto]:
    """Name → initializer."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def producers(model: ModelProto) -> dict[str, NodeProto]:
    """Name of a tensor → the node that makes it."""
    return {name: node for node in model.graph.node for name in node.output if name}


def consumers(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Name of a tensor → the nodes that read it; missing names have none."""
    readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            readers[name].append(node)
    return readers


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """Value of an attribute."""
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    """Set an attribute; None removes it."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend(kept if value is None else [*kept, helper.make_attribute(name, value)])


def add_constant(model: ModelProto, name: str, value: NDArray[np.generic]) -> str:
    """Add an initializer under ``name``, or a free name like it, and return the name."""
    taken = set(constants(model)) | set(producers(model))
    free, suffix = name, 0
    while free in taken:
        suffix += 1
        free = f"{name}_{suffix}"
    model.graph.initializer.append(numpy_helper.from_array(value, free))
    return free


def replace_uses(model: ModelProto, old: str, new: str, *, skip: Iterable[NodeProto] = ()) -> None:
    """Let every node that reads ``old`` read ``new``, but those in ``skip``."""
    skipped = {id(node) for node in skip}
    for node in model.graph.node:
        if id(node) in skipped:
            continue
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def remove_nodes(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Remove nodes; nothing may read them any more."""
    removed = {name for node in nodes for name in node.output}
    kept = [node for node in model.graph.node if not removed.intersection(node.output)]
    replace_nodes(model, kept)


def replace_nodes(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Set the nodes of the graph, in topological order."""
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(copies)


def drop_unused(model: ModelProto) -> None:
    """Remove nodes whose results nobody reads, and constants that nobody reads."""
    wanted = {output.name for output in model.graph.output}
    kept: list[NodeProto] = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(name for name in node.input if name)
    replace_nodes(model, reversed(kept))
    used = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)


def infer_shapes(model: ModelProto) -> dict[str, tuple[int | str, ...]]:
    """Infer every shape, store them in the graph, and return name → shape; an unknown batch is a string.

    Raises:
        onnx.shape_inference.InferenceError: The graph is inconsistent.
    """
    del model.graph.value_info[:]
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    model.graph.value_info.extend(inferred.graph.value_info)
    shapes: dict[str, tuple[int | str, ...]] = {}
    for item in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        dims = item.type.tensor_type.shape.dim
        shapes[item.name] = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)
    return shapes


def cut_graph(model: ModelProto, output: str) -> ModelProto:
    """A graph as far as one tensor, which becomes its only output."""
    part = ModelProto.FromString(model.SerializeToString())
    del part.graph.output[:]
    part.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    drop_unused(part)
    return part


def with_outputs(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A copy of a graph with more float tensors as outputs."""
    copy = ModelProto.FromString(model.SerializeToString())
    present = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors if name not in present
    )
    return copy
