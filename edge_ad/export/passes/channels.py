"""How many channels lie between the layers of an inverted bottleneck."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_ad.calibration.graph import attribute, constants, consumers, infer_shapes, producers, set_attribute

__all__ = ["fill_channels"]

_BLOCK = 32  # bfloat16 numbers of a row that AMX multiplies at once


def fill_channels(model: ModelProto) -> list[str]:
    """Fill up the inner channels of float bottlenecks with zeros to whole blocks of 32.

    In bfloat16 a 1×1 convolution that sums over 144 channels takes OpenVINO twice the time of one over 160. A channel
    whose weights are all zero is zero in front of it and changes no sum.

    Changed where convolution → depthwise convolution → 1×1 convolution read nothing but each other, with at most a
    ``Clip`` that keeps zero between them, and all weights are float constants of their own.

    Returns:
        Names of the 1×1 convolutions that sum over more channels now.
    """
    readers, sources, values = consumers(model), producers(model), constants(model)
    changed = []
    for last in [node for node in model.graph.node if node.op_type == "Conv"]:
        depthwise = _reads(last, sources, readers, values)
        first = None if depthwise is None else _reads(depthwise, sources, readers, values)
        if depthwise is None or first is None or not _is_bottleneck(first, depthwise, last, values):
            continue
        missing = -values[last.input[1]].dims[1] % _BLOCK
        if missing and _are_own([first, depthwise, last], readers, values):
            _fill(first, depthwise, last, missing, values)
            changed.append(last.name)
    if changed:
        infer_shapes(model)
    return changed


def _reads(
    node: NodeProto,
    sources: dict[str, NodeProto],
    readers: dict[str, list[NodeProto]],
    values: dict[str, TensorProto],
) -> NodeProto | None:
    """The convolution that only this node reads, through at most a ``Clip`` that leaves zero as it is."""
    source, reader = sources.get(node.input[0]), node
    if source is not None and source.op_type == "Clip" and readers[source.output[0]] == [node]:
        if not _keeps_zero(source, values):
            return None
        source, reader = sources.get(source.input[0]), source
    alone = source is not None and source.op_type == "Conv" and readers[source.output[0]] == [reader]
    return source if alone else None


def _keeps_zero(clip: NodeProto, values: dict[str, TensorProto]) -> bool:
    if any(name and name not in values for name in clip.input[1:]):
        return False
    limits = [_value(values[name]).item() if name else 0 for name in clip.input[1:]]
    least, most = [*limits, 0, 0][:2]
    return bool(least <= 0 <= most)


def _is_bottleneck(first: NodeProto, depthwise: NodeProto, last: NodeProto, values: dict[str, TensorProto]) -> bool:
    if any(node.input[1] not in values for node in (first, depthwise, last)):
        return False
    channels, sides = values[last.input[1]].dims[1], values[last.input[1]].dims[2:]
    groups = [attribute(node, "group", 1) for node in (first, depthwise, last)]
    return (
        groups == [1, channels, 1] and list(values[depthwise.input[1]].dims[:2]) == [channels, 1] and set(sides) == {1}
    )


def _are_own(nodes: list[NodeProto], readers: dict[str, list[NodeProto]], values: dict[str, TensorProto]) -> bool:
    """Whether weights and biases are constants that no other node reads."""
    return all(name in values and readers[name] == [node] for node in nodes for name in node.input[1:] if name)


def _fill(
    first: NodeProto, depthwise: NodeProto, last: NodeProto, missing: int, values: dict[str, TensorProto]
) -> None:
    for node in (first, depthwise):
        for name in filter(None, node.input[1:]):
            _append_zeros(values[name], missing, axis=0)
    _append_zeros(values[last.input[1]], missing, axis=1)
    set_attribute(depthwise, "group", values[depthwise.input[1]].dims[0])


def _append_zeros(tensor: TensorProto, missing: int, *, axis: int) -> None:
    value = _value(tensor)
    widths = [(0, missing if index == axis else 0) for index in range(value.ndim)]
    tensor.CopyFrom(numpy_helper.from_array(np.pad(value, widths), tensor.name))


def _value(tensor: TensorProto) -> NDArray[np.generic]:
    value: NDArray[np.generic] = numpy_helper.to_array(tensor)
    return value
