"""Whether a graph sorts more values than TensorRT does, asked before a builder sees it."""

from __future__ import annotations

from onnx import ModelProto, numpy_helper

from edge_ad.calibration.graph import constants
from edge_ad.errors import BundleError

__all__ = ["MOST_SORTED", "check_sorts"]

MOST_SORTED = 3840
"""Values along an axis that TensorRT's TopK takes at most."""


def check_sorts(model: ModelProto, where: str = "The graph") -> None:
    """Refuse a graph that sorts too many values, as ``matching=exact`` does at an input of 256 × 256.

    Args:
        model: Any ONNX graph.
        where: What it is, for the message, such as the file's name.

    Raises:
        BundleError: The message names the node.
    """
    known = constants(model)
    for node in model.graph.node:
        if node.op_type != "TopK" or node.input[1] not in known:
            continue
        count = int(numpy_helper.to_array(known[node.input[1]]).item())
        if count > MOST_SORTED:
            raise BundleError(
                f"{where} sorts {count} values ({node.name}), and TensorRT sorts {MOST_SORTED} at most.",
                "Train with -p matching=counts, which nearly equals matching=exact and does not sort; ONNX Runtime and "
                "OpenVINO take this graph as it is.",
            )
