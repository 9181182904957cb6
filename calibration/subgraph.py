"""The backbone cut out of a deploy graph, to compute the features that its INT8 form gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edge_ad.calibration.graph import drop_unused
from edge_ad.calibration.graph_runner import create_session
from edge_ad.errors import EdgeAdError

__all__ = ["backbone_features", "backbone_output"]

_BACKBONE_MODULE = "patch_features"


def backbone_output(model: ModelProto) -> str:
    """Name of the tensor with the patch features of a deploy graph.

    Raises:
        EdgeAdError: The graph has no backbone.
    """
    own = [node for node in model.graph.node if node.name.split("/")[0].split(".")[0] == _BACKBONE_MODULE]
    if not own:
        raise EdgeAdError("This graph has no backbone.")
    return str(own[-1].output[0])  # nodes are in the order in which they run


def backbone_features(model: ModelProto, features: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a deploy graph as far as its backbone.

    Args:
        model: Deploy graph, in float or with Q/DQ.
        features: Name of the tensor with the features.
        images: uint8 (N, H, W, 3) BGR, N >= 1.

    Returns:
        float32 (N, C, h, w).
    """
    backbone = ModelProto.FromString(model.SerializeToString())
    del backbone.graph.output[:]
    backbone.graph.output.append(helper.make_tensor_value_info(features, TensorProto.FLOAT, None))
    drop_unused(backbone)
    session = create_session(backbone)
    name = backbone.graph.input[0].name
    return np.concatenate([session.run([features], {name: images[i : i + 1]})[0] for i in range(len(images))])
