"""What TensorRT says about the layers it built → `PlanLayer`, from either of its two ways to say it.

TensorRT for RTX lists them in the build log; the engine inspector of TensorRT gives them as JSON.
"""

from __future__ import annotations

import math
from onnx import ModelProto
from edge_ad.calibration.graph import constants, infer_shapes, producers
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from edge_ad.bundle.plan_layers import PlanLayer

__all__ = ['ListedLayer', 'convolution_macs', 'layers_from_inspector', 'layers_from_log', 'with_convolutions']

_MOVES = ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity")
ListedLayer = tuple[PlanLayer, int]
"""A layer, and how many elements its largest constant has."""

_LINE = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<type>[^,]*), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], "
    r"TacticName: .*?, StreamId: -?\d+, Metadata: (?P<metadata>.*)$"
)
_TENSOR = re.compile(r"Dimensions: \[([-\d, ]*)\].*?Datatype: (\w+)")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=$|\[|\s|\x1e)")
_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype", "Format")  # as the versions name it
_TYPE_WORDS = {
    "float": "fp32",
    "fp32": "fp32",
    "half": "fp16",
    "fp16": "fp16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "int8": "int8",
    "uint8": "uint8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}


def convolution_macs(model: ModelProto) -> dict[str, int]:
    """Name of each ``Conv`` → multiply-accumulates for one image.

    One output element takes one product per input channel of its group and per element of the kernel.

    Args:
        model: Graph with only the batch dynamic; it is left as it is. A node without a name is given the one that
            TensorRT's parser gives it.
    """
    shapes = infer_shapes(ModelProto.FromString(model.SerializeToString()))
    sources, values = producers(model), constants(model)

    def weight_shape(name: str) -> tuple[int, ...]:
        while name not in values and name in sources and sources[name].op_type in _MOVES:
            name = sources[name].input[0]
        return tuple(values[name].dims) if name in values else tuple(_sizes(shapes.get(name, ())))

    return {
        node.name or f"node_of_{node.output[0]}": math.prod(_sizes(shapes[node.output[0]]))
        * math.prod(weight_shape(node.input[1])[1:])
        for node in model.graph.node
        if node.op_type == "Conv"
    }


def _sizes(shape: tuple[int | str, ...]) -> list[int]:
    return [size if isinstance(size, int) else 1 for size in shape]  # the batch: one image


def layers_from_log(listing: str) -> list[ListedLayer]:
    """Layers of the listing in a DETAILED build log of TensorRT for RTX."""
    matches = (_LINE.match(line) for line in listing.splitlines())
    return [_from_match(match) for match in matches if match is not None]


def layers_from_inspector(text: str) -> list[ListedLayer]:
    """Layers of the engine inspector's JSON; a plan built without detailed profiling lists names alone."""
    layers = json.loads(text).get("Layers", [])
    return [
        _from_json(layer) if isinstance(layer, dict) else (PlanLayer(name=str(layer), type=""), 0) for layer in layers
    ]


def with_convolutions(listed: Sequence[ListedLayer], macs: Mapping[str, int]) -> list[PlanLayer]:
    """Attribute each convolution of the graph to the layer that computes it.

    A node is named by every layer that has a part of it, such as the layer that adds its bias; the product is in the
    one with the largest constant. A convolution that no layer names becomes a layer of type ``"not listed"``.

    Args:
        listed: Layers, with the sizes of their largest constants.
        macs: Convolution → multiply-accumulates for one image.
    """
    owned: dict[int, dict[str, int]] = {}
    missing: list[PlanLayer] = []
    for node, count in macs.items():
        named = [index for index, (layer, _) in enumerate(listed) if node in layer.nodes]
        if named:
            owner = max(named, key=lambda index: listed[index][1])
            owned.setdefault(owner, {})[node] = count
        else:
            missing.append(PlanLayer(name=node, type="not listed", nodes=[node], convolutions={node: count}))
    placed = [layer.model_copy(update={"convolutions": owned.get(i, {})}) for i, (layer, _) in enumerate(listed)]
    return placed + missing


def _from_match(match: re.Match[str]) -> ListedLayer:
    constants = _TENSOR.findall(match["constants"])
    sizes = [math.prod(int(size) for size in shape.split(",") if size.strip()) for shape, _ in constants]
    largest = max(range(len(sizes)), key=sizes.__getitem__, default=-1)
    layer = PlanLayer(
        name=match["name"],
        type=match["type"],
        inputs=[_type_of(kind) for _, kind in _TENSOR.findall(match["inputs"])],
        outputs=[_type_of(kind) for _, kind in _TENSOR.findall(match["outputs"])],
        weights=_type_of(constants[largest][1]) if sizes else "",
        nodes=_NODE.findall(match["metadata"]),
    )
    return layer, sizes[largest] if sizes else 0


def _from_json(entry: Mapping[str, Any]) -> ListedLayer:
    weights = entry.get("Weights") or {}
    constants = entry.get("Constants") or []
    sizes = [math.prod(item.get("Dimensions") or [1]) for item in constants]
    largest = max(range(len(sizes)), key=sizes.__getitem__, default=-1)
    kind = str(weights.get("Type", "")) or (_format_of(constants[largest]) if sizes else "")
    layer = PlanLayer(
        name=str(entry.get("Name", "")),
        type=str(entry.get("ParameterType") or entry.get("LayerType", "")),
        inputs=[_type_of(_format_of(item)) for item in entry.get("Inputs", [])],
        outputs=[_type_of(_format_of(item)) for item in entry.get("Outputs", [])],
        weights=_type_of(kind) if kind else "",
        nodes=_NODE.findall(str(entry.get("Metadata", ""))),
    )
    return layer, int(weights.get("Count", 0)) or (sizes[largest] if sizes else 0)


def _format_of(tensor: Mapping[str, Any]) -> str:
    return next((str(tensor[key]) for key in _TYPE_KEYS if tensor.get(key)), "")


def _type_of(text: str) -> str:
    """``"Int8"`` or ``"Thirty-two wide channel vectorized row major Int8 format"`` → ``"int8"``."""
    words = [_TYPE_WORDS[word] for word in re.findall(r"[a-z0-9]+", text.lower()) if word in _TYPE_WORDS]
    return words[-1] if words else text.lower()
