"""Which layers the search begins with in INT8, why the others are in float, and what bfloat16 leaves alone."""

from __future__ import annotations

import re

from onnx import ModelProto, NodeProto

from edge_ad.calibration.graph import attribute, producers
from edge_ad.calibration.qdq import quantisable_layers

__all__ = ["first_blocks", "float32_parts", "float_reasons", "int8_candidates", "is_backbone"]

_JUDGES = (
    *("mask_source", "own_distance", "predictor", "soft_mask", "gaussian", "standardisation", "metric", "msgms"),
    *("metric_distance", "smoothing", "detector"),
)
_BACKBONE_MODULE = "patch_features."
# What makes the largest maps carries most of the noise that an INT8 backbone adds to its features, and later layers
# amplify it, while these layers have little of the arithmetic.
_BACKBONE_START = re.compile(r"patch_features\.network\.(stem|stages\.[01]\.|stages\.2\.0\.expand)")
# The first block of a stage has no residual: all that later layers see goes through its few channels once.
_FIRST_BLOCKS = re.compile(r"patch_features\.network\.stages\.([23]\.0\.|4\.0\.expand)")
_FIRST_BLOCK_REASON = "first block of a stage: nothing goes around its noise"
# bfloat16 has 8 bits to INT8's 256 levels: near the top of a range it is the coarser of the two.
_FLOAT32_START = re.compile(r"patch_features\.network\.(stem|stages\.0\.)")


def int8_candidates(model: ModelProto) -> list[str]:
    """Names of the layers of a float deploy graph that are worth quantising, in the order of the graph."""
    return [node.name for node in quantisable_layers(model) if not _float_reason(node)]


def float_reasons(model: ModelProto) -> dict[str, str]:
    """Layers that have an INT8 form and are left in float from the start → why, in the order of the graph."""
    return {node.name: reason for node in quantisable_layers(model) if (reason := _float_reason(node))}


def first_blocks(model: ModelProto) -> list[str]:
    """Names of the layers that are in float because they belong to the first block of a stage, in that order."""
    return [name for name, reason in float_reasons(model).items() if reason == _FIRST_BLOCK_REASON]


def is_backbone(layer: str) -> bool:
    """Whether a layer belongs to the frozen feature network that other parts are fitted on."""
    return layer.startswith(_BACKBONE_MODULE)


def float32_parts(model: ModelProto) -> list[list[str]]:
    """Nodes and modules to leave in float32 where the rest of a graph is computed in bfloat16, the fewest first.

    First the start of the backbone, whose noise every later layer amplifies, and all that leads to it. Then also what
    INT8 leaves in float for the sake of accuracy: more of that start, and what judges distances and errors.

    Returns:
        One or two lists; a name stands for all nodes whose names go on with ``/`` or ``.``.
    """
    least = _up_to(model, _FLOAT32_START)
    judging = dict.fromkeys(_module(node) for node in model.graph.node if _module(node) in _JUDGES)
    most = [*_up_to(model, _BACKBONE_START), *judging]
    return [least] if set(most) <= set(least) else [least, most]


def _up_to(model: ModelProto, names: re.Pattern[str]) -> list[str]:
    """Names of the nodes that match, and of all that they depend on, in the order of the graph."""
    sources = producers(model)
    found: dict[str, None] = {}
    waiting = [node for node in model.graph.node if names.match(node.name)]
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found[node.name] = None
            waiting += [sources[name] for name in node.input if name in sources]
    return [node.name for node in model.graph.node if node.name in found]


def _module(node: NodeProto) -> str:
    return str(node.name.split("/")[0].split(".")[0])


def _float_reason(node: NodeProto) -> str:
    if _module(node) in _JUDGES:
        return "judges distances or errors: a mask flips on a small difference"
    if "/" in node.name:
        return "an operator without a weight of its module"
    if _BACKBONE_START.match(node.name):
        return "start of the backbone: most of the noise of an INT8 backbone would come from there"
    if attribute(node, "group", 1) != 1:
        return "depthwise: little arithmetic, and one scale for channels of very different size"
    if _FIRST_BLOCKS.match(node.name):
        return _FIRST_BLOCK_REASON
    return ""
