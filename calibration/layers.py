"""Which layers the search begins with in INT8, and why the others are in float."""

from __future__ import annotations

import re

from onnx import ModelProto, NodeProto

from edge_ad.calibration.graph import attribute
from edge_ad.calibration.qdq import quantisable_layers

__all__ = ["float_reasons", "int8_candidates", "is_backbone"]

_JUDGES = ("mask_source", "own_distance", "predictor", "soft_mask", "gaussian", "msgms", "smoothing")
_BACKBONE_MODULE = "patch_features."
# Stem and stages 0 and 1 carry nearly all of the noise that an INT8 backbone adds to its features, but for one layer,
# which adds a tenth of what its neighbours do and has a third of their arithmetic.
_BACKBONE_START = re.compile(r"patch_features\.network\.(stem|stages\.0\.|stages\.1\.(?!0\.expand))")


def int8_candidates(model: ModelProto) -> list[str]:
    """Names of the layers of a float deploy graph that are worth quantising, in the order of the graph."""
    return [node.name for node in quantisable_layers(model) if not _float_reason(node)]


def float_reasons(model: ModelProto) -> dict[str, str]:
    """Layers that have an INT8 form and are left in float from the start → why, in the order of the graph."""
    return {node.name: reason for node in quantisable_layers(model) if (reason := _float_reason(node))}


def is_backbone(layer: str) -> bool:
    """Whether a layer belongs to the frozen feature network that other parts are fitted on."""
    return layer.startswith(_BACKBONE_MODULE)


def _float_reason(node: NodeProto) -> str:
    if node.name.split("/")[0].split(".")[0] in _JUDGES:
        return "judges distances or errors: a mask flips on a small difference"
    if "/" in node.name:
        return "an operator without a weight of its module"
    if _BACKBONE_START.match(node.name):
        return "start of the backbone: nearly all of the noise of an INT8 backbone comes from there"
    if attribute(node, "group", 1) != 1:
        return "depthwise: little arithmetic, and one scale for channels of very different size"
    return ""
