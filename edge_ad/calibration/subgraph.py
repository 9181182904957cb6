"""The backbone cut out of a deploy graph, to compute the features that it gives in another arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from edge_ad.calibration.graph import drop_unused
from edge_ad.calibration.graph_runner import create_session
from edge_ad.errors import EdgeAdError

__all__ = ["backbone_features", "backbone_output", "cut_graph", "has_backbone"]

_BACKBONE_MODULE = "patch_features"


def has_backbone(model: ModelProto) -> bool:
    """Whether a deploy graph has a backbone on whose features other parts are fitted."""
    return bool(_backbone_nodes(model))


def backbone_output(model: ModelProto) -> str:
    """Name of the tensor with the patch features of a deploy graph.

    Raises:
        EdgeAdError: The graph has no backbone.
    """
    own = _backbone_nodes(model)
    if not own:
        raise EdgeAdError("This graph has no backbone.")
    return str(own[-1].output[0])  # nodes are in the order in which they run


def _backbone_nodes(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.name.split("/")[0].split(".")[0] == _BACKBONE_MODULE]


def backbone_features(model: ModelProto, features: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a deploy graph as far as its backbone.

    Args:
        model: Deploy graph, in float or with Q/DQ.
        features: Name of the tensor with the features.
        images: uint8 (N, H, W, 3) BGR, N >= 1.

    Returns:
        float32 (N, C, h, w).
    """
    backbone = cut_graph(model, features)
    session = create_session(backbone)
    name = backbone.graph.input[0].name
    return np.concatenate([session.run([features], {name: images[i : i + 1]})[0] for i in range(len(images))])


def cut_graph(model: ModelProto, output: str) -> ModelProto:
    """A graph as far as one tensor, which becomes its only output."""
    part = ModelProto.FromString(model.SerializeToString())
    del part.graph.output[:]
    part.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    drop_unused(part)
    return part
