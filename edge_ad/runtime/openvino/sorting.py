"""Sorts as ONNX means them: of equal values, the one with the lower index comes first."""

from __future__ import annotations

from typing import Any

from edge_ad.runtime.openvino.api import openvino_api

__all__ = ["sort_stably"]


def sort_stably(model: Any) -> Any:
    """Replace each ``TopK`` that may give equal values in any order, as OpenVINO reads it from an ONNX file.

    Args:
        model: ``openvino.Model``; it is changed.

    Returns:
        The model.
    """
    for node in model.get_ops():
        if node.get_type_name() == "TopK" and not node.get_attributes()["stable"]:
            _replace(node)
    return model


def _replace(node: Any) -> None:
    given = node.get_attributes()
    stable = openvino_api().opset11.topk(
        node.input_value(0), node.input_value(1), given["axis"], given["mode"], given["sort"],
        given["index_element_type"], stable=True,
    )  # fmt: skip
    stable.set_friendly_name(node.get_friendly_name())
    for index in range(node.get_output_size()):
        node.output(index).replace(stable.output(index))
