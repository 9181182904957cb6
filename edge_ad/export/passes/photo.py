"""What comes before the first convolution, in the order in which a photo lies in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edge_ad.calibration.graph import add_constant, attribute, constants, consumers, replace_nodes

__all__ = ["transpose_late"]

_TO_NCHW = [0, 3, 1, 2]
_CHANNELS = 3
_WHITE = 255


class _Preamble(NamedTuple):
    """``conv(s·x + t)`` of a photo x, channels in the order of the convolution."""

    nodes: list[NodeProto]
    convolution: NodeProto
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def transpose_late(model: ModelProto) -> bool:
    """Normalise a photo as it lies in memory, (N, H, W, BGR), and transpose it last.

    Engines keep maps as the photo is, channels last. A transposition that stands right before the first convolution is
    then no work at all, and the order of the channels goes into that convolution's weights; standing first, it is a
    pass over the photo, and another to undo it. Only a graph whose photo one convolution reads, and nothing else, is
    changed. ``Abs`` and ``Clip`` change no value: they keep OpenVINO from taking the normalisation of an INT8 graph for
    a dequantisation, which it would swap with the transposition.

    Returns:
        Whether the graph was changed.
    """
    found = _match(model)
    if found is None:
        return False
    source, target = found.nodes[0], found.convolution.input[0]
    _reverse_channels(model, found.convolution)
    scale, shift = found.scale[::-1], found.shift[::-1]
    values = {"scale": scale, "shift": shift, "least": shift.min(), "most": (_WHITE * scale + shift).max()}
    width = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    names = {name: add_constant(model, f"photo.{name}", _whole_row(value, width)) for name, value in values.items()}
    steps = [
        ("Mul", [names["scale"]]),
        ("Abs", []),
        ("Add", [names["shift"]]),
        ("Clip", [names["least"], names["most"]]),
    ]
    nodes, tensor = [source], source.output[0]
    for kind, others in steps:
        nodes.append(helper.make_node(kind, [tensor, *others], [f"photo.{kind.lower()}"], f"photo/{kind}"))
        tensor = nodes[-1].output[0]
    nodes.append(helper.make_node("Transpose", [tensor], [target], "photo/Transpose", perm=_TO_NCHW))
    dropped = {node.output[0] for node in found.nodes}
    replace_nodes(model, [*nodes, *(node for node in model.graph.node if node.output[0] not in dropped)])
    return True


def _whole_row(value: NDArray[np.float64], width: int) -> NDArray[np.float32]:
    """A value by channel as one number, where it is, or for a whole row (W, C): three numbers at a time are slow."""
    once = np.asarray(value, np.float32)
    return np.tile(once, (width, 1)) if np.ptp(once) else once.ravel()[0].reshape(())


def _match(model: ModelProto) -> _Preamble | None:
    """Cast, Transpose, a reversal of the channels, and arithmetic with constants, up to a convolution."""
    readers, values = consumers(model), {name: numpy_helper.to_array(item) for name, item in constants(model).items()}
    cast = _only(readers, model.graph.input[0].name, "Cast")
    transpose = _only(readers, cast.output[0], "Transpose") if cast is not None else None
    if cast is None or transpose is None or attribute(transpose, "perm") != _TO_NCHW:
        return None
    slices = readers[transpose.output[0]]
    concat = _only(readers, slices[0].output[0], "Concat") if slices else None
    if concat is None or not _reverses(slices, concat, readers, values):
        return None
    found = _normalised(concat, readers, values)
    if found is None or found.scale.min() <= 0 or not _is_free(found.convolution, readers, values):
        return None
    return found._replace(nodes=[cast, transpose, *slices, *found.nodes])


def _normalised(
    concat: NodeProto, readers: dict[str, list[NodeProto]], values: dict[str, NDArray[np.generic]]
) -> _Preamble | None:
    """The arithmetic from the channels put together up to a convolution."""
    nodes, tensor = [concat], concat.output[0]
    scale, shift = np.ones(_CHANNELS), np.zeros(_CHANNELS)
    while (step := _arithmetic(readers[tensor], tensor, values)) is not None:
        node, factor, offset = step
        scale, shift = scale * factor, shift * factor + offset
        nodes.append(node)
        tensor = node.output[0]
    convolution = _only(readers, tensor, "Conv")
    return None if convolution is None else _Preamble(nodes, convolution, scale, shift)


def _only(readers: dict[str, list[NodeProto]], tensor: str, kind: str) -> NodeProto | None:
    found = readers.get(tensor, [])
    return found[0] if len(found) == 1 and found[0].op_type == kind else None


def _reverses(
    slices: list[NodeProto],
    concat: NodeProto,
    readers: dict[str, list[NodeProto]],
    values: dict[str, NDArray[np.generic]],
) -> bool:
    """Whether the channels of three slices are put together in the opposite order."""
    if len(slices) != _CHANNELS or any(node.op_type != "Slice" or node.input[1] not in values for node in slices):
        return False
    if any(readers[node.output[0]] != [concat] for node in slices):
        return False
    first = {node.output[0]: int(values[node.input[1]].item()) for node in slices}
    return attribute(concat, "axis") == 1 and [first.get(name) for name in concat.input] == [2, 1, 0]


def _arithmetic(
    readers: list[NodeProto], tensor: str, values: dict[str, NDArray[np.generic]]
) -> tuple[NodeProto, NDArray[np.float64], NDArray[np.float64]] | None:
    """The only reader of a tensor, where it is ``a·x + b`` with constants, and a and b by channel."""
    if len(readers) != 1 or readers[0].op_type not in ("Add", "Sub", "Mul", "Div") or readers[0].input[0] != tensor:
        return None
    constant = values.get(readers[0].input[1])
    if constant is None or (constant.size > 1 and constant.shape not in ((_CHANNELS, 1, 1), (1, _CHANNELS, 1, 1))):
        return None
    value = constant.astype(np.float64).ravel()
    if readers[0].op_type in ("Mul", "Div"):
        return readers[0], value if readers[0].op_type == "Mul" else 1 / value, np.zeros(1)
    return readers[0], np.ones(1), value if readers[0].op_type == "Add" else -value


def _is_free(
    convolution: NodeProto, readers: dict[str, list[NodeProto]], values: dict[str, NDArray[np.generic]]
) -> bool:
    """Whether the weight is a constant of its own for three channels."""
    weight = values.get(convolution.input[1])
    return weight is not None and weight.shape[1] == _CHANNELS and readers[convolution.input[1]] == [convolution]


def _reverse_channels(model: ModelProto, convolution: NodeProto) -> None:
    tensor = constants(model)[convolution.input[1]]
    reversed_ = np.ascontiguousarray(numpy_helper.to_array(tensor)[:, ::-1])
    tensor.CopyFrom(numpy_helper.from_array(reversed_, tensor.name))
