"""Which layers become INT8 at first, in groups that go back to float together when the accuracy gate asks for it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from edge_ad.calibration.graph import attribute
from edge_ad.calibration.qdq import quantisable_layers

__all__ = ["BACKBONE", "LayerGroup", "layer_groups"]

BACKBONE = "backbone"

# Judges of distance and error: a mask flips on small differences, and they take little time.
_FLOAT_MODULES = ("mask_source", "own_distance", "predictor", "soft_mask", "gaussian", "msgms", "smoothing")
_BACKBONE_MODULE = "patch_features."
# Stem and stages 0 and 1 carry nearly all of the noise that an INT8 backbone adds to its features.
_BACKBONE_START = re.compile(r"patch_features\.network\.(stem|stages\.[01]\.)")
_BLOCK = re.compile(r"^(.*?\.\d+|.*?)(\.\d+)*$")


@dataclass(frozen=True)
class LayerGroup:
    """Layers that are quantised or left in float together.

    Attributes:
        name: Module they belong to; ``"backbone"`` for the frozen feature network.
        layers: Names of their nodes, in the order of the graph.
    """

    name: str
    layers: tuple[str, ...]


def layer_groups(model: ModelProto) -> list[LayerGroup]:
    """Group the layers of a float deploy graph that are worth quantising, in the order of the graph.

    Left out: depthwise convolutions, the stem and the first stages of the backbone, everything that judges distances or
    errors, and operators without a module's own weight.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for node in quantisable_layers(model):
        if _is_worthwhile(node):
            groups[_group_of(node.name)].append(node.name)
    return [LayerGroup(name, tuple(layers)) for name, layers in groups.items()]


def _is_worthwhile(node: NodeProto) -> bool:
    name = node.name
    if "/" in name or name.split(".")[0] in _FLOAT_MODULES or _BACKBONE_START.match(name):
        return False
    return attribute(node, "group", 1) == 1


def _group_of(layer: str) -> str:
    if layer.startswith(_BACKBONE_MODULE):
        return BACKBONE
    matched = _BLOCK.match(layer)
    assert matched is not None
    return matched.group(1)
