"""Graphs that are valid protocol buffers and no deploy graphs: other types, shapes, outputs, loops, big tensors."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

__all__ = ["mutate_graph"]


def mutate_graph(content: bytes, rng: random.Random) -> bytes:
    """One or two changes to a model."""
    model = onnx.load_from_string(content)
    for _ in range(rng.choice((1, 1, 2))):
        rng.choice(_CHANGES)(model, rng)
    return bytes(model.SerializeToString())


def _type_of_port(model: ModelProto, rng: random.Random) -> None:
    port = rng.choice([*model.graph.input, *model.graph.output])
    port.type.tensor_type.elem_type = rng.randrange(0, 24)


def _shape_of_port(model: ModelProto, rng: random.Random) -> None:
    shape = rng.choice([*model.graph.input, *model.graph.output]).type.tensor_type.shape
    kind = rng.randrange(4)
    if kind == 0 and shape.dim:
        del shape.dim[-1]
    elif kind == 1:
        shape.dim.add(dim_value=rng.choice((0, 1, 3, 1 << 40, -1)))
    elif shape.dim:
        rng.choice(shape.dim).dim_value = rng.choice((0, 1, 2, 31, 1 << 33, -5))


def _renamed_port(model: ModelProto, rng: random.Random) -> None:
    rng.choice([*model.graph.input, *model.graph.output]).name = rng.choice(("image", "score", "anomaly_map", "x", ""))


def _other_output(model: ModelProto, rng: random.Random) -> None:
    name = rng.choice(("pixels", "channel", "scale", "image", "score"))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _extra_input(model: ModelProto, rng: random.Random) -> None:
    model.graph.input.append(helper.make_tensor_value_info(rng.choice(("more", "image", "scale")), 1, [1]))


def _cast_output(model: ModelProto, rng: random.Random) -> None:
    """The output in another type, honestly declared."""
    index, kind = rng.randrange(2), rng.choice((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.FLOAT16, 9, 8))
    name = model.graph.output[index].name
    _rename(model, name)
    model.graph.node.append(helper.make_node("Cast", [f"{name}_before"], [name], to=kind))
    model.graph.output[index].type.tensor_type.elem_type = kind


def _reshaped_output(model: ModelProto, rng: random.Random) -> None:
    """The output with another number of values than is declared, or of another rank."""
    name = model.graph.output[rng.randrange(2)].name
    _rename(model, name)
    shape = rng.choice(([-1], [1], [-1, 2], [1, 1, 1, -1], [0, -1], [7, -1]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"))
    model.graph.node.append(helper.make_node("Reshape", [f"{name}_before", f"{name}_shape"], [name]))
    if rng.random() < 0.5:
        output = next(item for item in model.graph.output if item.name == name)
        output.type.tensor_type.ClearField("shape")


def _sequence_output(model: ModelProto, rng: random.Random) -> None:
    name = model.graph.output[rng.randrange(2)].name
    _rename(model, name)
    model.graph.node.append(helper.make_node("SequenceConstruct", [f"{name}_before"], [name]))
    output = next(item for item in model.graph.output if item.name == name)
    output.CopyFrom(helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None))


def _not_finite(model: ModelProto, rng: random.Random) -> None:
    value = np.array(rng.choice((np.nan, np.inf, -np.inf, 1e38)), np.float32)
    tensor = next(item for item in model.graph.initializer if item.name == "scale")
    tensor.CopyFrom(numpy_helper.from_array(value, "scale"))


def _big(model: ModelProto, rng: random.Random) -> None:
    """A constant of more memory than there is, from a few bytes."""
    shape = np.array(rng.choice(([1 << 40], [1 << 20, 1 << 20], [-1], [1 << 62, 4])), np.int64)
    model.graph.initializer.append(numpy_helper.from_array(shape, "big_shape"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["big_shape"], ["big"]))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["big"], ["big_one"], keepdims=0))
    _rename(model, "score")
    model.graph.node.append(helper.make_node("Add", ["score_before", "big_one"], ["score"]))


def _endless(model: ModelProto, rng: random.Random) -> None:
    """A loop around the score that never ends."""
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["before"], ["on"]), helper.make_node("Identity", ["value"], ["same"])],
        "body",
        [scalar("turn", 7, []), scalar("before", 9, []), scalar("value", 1, None)],
        [scalar("on", 9, []), scalar("same", 1, None)],
    )
    _rename(model, "score")
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["", "yes", "score_before"], ["score"], body=body))


def _external(model: ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=rng.choice(("manifest.json", "../0.png", "/dev/zero", "", "\0")))


def _attribute(model: ModelProto, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if not node.attribute:
        node.op_type = rng.choice(("Div", "Mod", "Pow", "Sub", "Conv", "MatMul", "Resize", "NonZero", "Loop", "Nope"))
        return
    attribute = rng.choice(node.attribute)
    attribute.i = rng.choice((-1, 0, 99, 1 << 62))
    if attribute.ints:
        attribute.ints[0] = rng.choice((-9, 0, 5, 1 << 40))


def _shuffled(model: ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _wiring(model: ModelProto, rng: random.Random) -> None:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    node = rng.choice(model.graph.node)
    if node.input and rng.random() < 0.7:
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "nowhere"])
    elif node.output:
        node.output[0] = rng.choice([*names, "", "elsewhere"])


def _versions(model: ModelProto, rng: random.Random) -> None:
    model.ir_version = rng.choice((0, 1, 3, 9, 13, 99, 1 << 40))
    model.opset_import[0].version = rng.choice((0, 1, 7, 13, 17, 25, 999, -1))


def _rename(model: ModelProto, name: str) -> None:
    """Have what made an output make ``<name>_before``."""
    for node in model.graph.node:
        node.output[:] = [f"{name}_before" if output == name else output for output in node.output]
        node.input[:] = [f"{name}_before" if taken == name else taken for taken in node.input]


_CHANGES: tuple[Callable[[ModelProto, random.Random], None], ...] = (
    _type_of_port, _shape_of_port, _renamed_port, _other_output, _extra_input, _cast_output, _reshaped_output,
    _sequence_output, _not_finite, _big, _endless, _external, _attribute, _shuffled, _wiring, _versions,
)  # fmt: skip
