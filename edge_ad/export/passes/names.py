"""Give nodes the names of the modules they come from: reports name layers, and people must find them."""

from __future__ import annotations

import ast
from collections import Counter

from onnx import ModelProto, NodeProto

__all__ = ["name_layers"]

_SCOPES = "pkg.torch.onnx.name_scopes"
_ROOT = "detector."


def name_layers(model: ModelProto) -> None:
    """Name nodes by module path and operator, such as ``unet.encoder.0.3`` or ``msgms/Sqrt``; drop traces of origin.

    A node with a weight is named as the module that owns the weight. The traces would show the folders of the machine.
    """
    weights = {tensor.name for tensor in model.graph.initializer if tensor.name.endswith(".weight")}
    taken: Counter[str] = Counter()
    for node in model.graph.node:
        name = _layer_name(node, weights)
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.doc_string = ""
        del node.metadata_props[:]
    for item in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""


def _layer_name(node: NodeProto, weights: set[str]) -> str:
    weight = next((name for name in node.input if name in weights), None)
    if weight is not None:
        return str(weight).removesuffix(".weight").removeprefix(_ROOT)
    scope = _innermost_module(node)
    return f"{scope}/{node.op_type}" if scope else node.op_type


def _innermost_module(node: NodeProto) -> str:
    text = next((item.value for item in node.metadata_props if item.key == _SCOPES), "[]")
    modules = [scope for scope in ast.literal_eval(text)[:-1] if scope]
    return modules[-1].removeprefix(_ROOT) if modules else ""
