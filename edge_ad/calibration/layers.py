"""Which layers stay in float, and why: where the search for INT8 begins, in FP16, and in bfloat16."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edge_ad.calibration.fp16 import float_tensors, half_inputs
from edge_ad.calibration.graph import attribute, constants, producers, with_outputs
from edge_ad.calibration.graph_runner import create_session
from edge_ad.calibration.qdq import QUANTISABLE, quantisable_layers
from edge_ad.errors import EdgeAdError
from edge_ad.runtime.openvino.engine import is_part

if TYPE_CHECKING:
    from edge_ad.models.base import AnomalyDetector

__all__ = [
    "LARGEST_MAGNITUDE",
    "FloatModules",
    "backbone_output",
    "first_blocks",
    "float32_parts",
    "float_reasons",
    "int8_candidates",
    "keep_in_fp32",
    "measure_magnitudes",
]

LARGEST_MAGNITUDE = 65504.0 / 4
"""A quarter of the largest FP16 number: what is inspected may exceed what was measured on good parts."""

_ROOT = "detector"  # of the deploy graph; what a detector does itself, without a module, is named after it
_FIRST_BLOCK_REASON = "first block of a stage: nothing goes around its noise"
_SMALLEST_MAGNITUDE = 2.0**-14  # below it FP16 loses digits, and an epsilon becomes 0
# Sums over many values, what steepens a difference near 0, and comparisons that turn a small difference into another
# mask.
_SUMS = {
    "ReduceSum",
    "ReduceMean",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSumExp",
    "CumSum",
}
_CURVES = {"Pow", "Sqrt", "Reciprocal", "Exp", "Log", "Softmax", "LayerNormalization"}
_COMPARISONS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "ArgMax", "ArgMin", "TopK"}
_FRAGILE = _SUMS | _CURVES | _COMPARISONS


@dataclass(frozen=True)
class FloatModules:
    """What the classes of a detector and of its backbone say of precision, by the names that the graph has.

    Attributes:
        judging: Modules that judge distances or errors.
        backbone: Module that other parts are fitted on; empty without one.
        int8_start: Modules of the backbone's start that an INT8 graph leaves in float.
        first_blocks: Modules of the first blocks of its later stages, which an INT8 graph leaves in float too.
        bf16_start: Modules of its start that a bfloat16 graph leaves in float32.
    """

    judging: tuple[str, ...] = ()
    backbone: str = ""
    int8_start: tuple[str, ...] = ()
    first_blocks: tuple[str, ...] = ()
    bf16_start: tuple[str, ...] = ()

    @classmethod
    def of(cls, detector: AnomalyDetector) -> FloatModules:
        """Those of a detector."""
        from edge_ad.models.backbones import Backbone

        names = {module: name for name, module in detector.named_modules()}
        network = next((module for module in names if isinstance(module, Backbone)), None)
        if network is None or detector.backbone is None:
            return cls(detector.float_modules)
        return cls(
            detector.float_modules,
            names[detector.backbone],
            *(
                tuple(f"{names[network]}.{part}" for part in parts)
                for parts in (network.int8_float_start, network.int8_float_blocks, network.bf16_float_start)
            ),
        )

    def is_backbone(self, layer: str) -> bool:
        """Whether a layer belongs to the feature network that other parts are fitted on."""
        return bool(self.backbone) and is_part(layer, self.backbone)

    def judge_of(self, *names: str) -> str:
        """The judging module that one of some nodes or constants belongs to; else nothing."""
        inside = [name.removeprefix(f"{_ROOT}.") for name in names]
        return next((part for name in inside for part in self.judging if is_part(name, part)), "")


def int8_candidates(model: ModelProto, modules: FloatModules) -> list[str]:
    """Names of the layers of a float deploy graph that are worth quantising, in the order of the graph."""
    return [node.name for node in quantisable_layers(model) if not _float_reason(node, modules)]


def float_reasons(model: ModelProto, modules: FloatModules) -> dict[str, str]:
    """Layers that have an INT8 form and are left in float from the start → why, in the order of the graph."""
    return {node.name: reason for node in quantisable_layers(model) if (reason := _float_reason(node, modules))}


def first_blocks(model: ModelProto, modules: FloatModules) -> list[str]:
    """Names of the layers that are in float because they belong to the first block of a stage, in that order."""
    return [name for name, reason in float_reasons(model, modules).items() if reason == _FIRST_BLOCK_REASON]


def backbone_output(model: ModelProto, modules: FloatModules) -> str:
    """Name of the tensor with the patch features of a deploy graph.

    Raises:
        EdgeAdError: The graph has no backbone.
    """
    own = [node for node in model.graph.node if modules.is_backbone(node.name)]
    if not own:
        raise EdgeAdError("This graph has no backbone.")
    return str(own[-1].output[0])  # nodes are in the order in which they run


def float32_parts(model: ModelProto, modules: FloatModules) -> list[list[str]]:
    """Nodes and modules to leave in float32 where the rest of a graph is computed in bfloat16, the fewest first.

    First the start of the backbone, whose noise every later layer amplifies, and all that leads to it. Then also what
    INT8 leaves in float for the sake of accuracy: more of that start, and what judges distances and errors.

    Returns:
        One or two lists; a name stands for all nodes whose names go on with ``/`` or ``.``.
    """
    least = _up_to(model, modules.bf16_start)
    judging = dict.fromkeys(part for node in model.graph.node if (part := _judging_part(node, modules)))
    most = [*_up_to(model, modules.int8_start), *judging]
    return [least] if set(most) <= set(least) else [least, most]


def measure_magnitudes(model: ModelProto, frames: Iterable[NDArray[np.generic]]) -> dict[str, float]:
    """Run a float graph on frames.

    Args:
        model: Deploy graph.
        frames: One input each, such as uint8 (1, H, W, 3).

    Returns:
        Float tensor that a node makes → largest magnitude seen; infinity where something was not finite.
    """
    floats = float_tensors(model)
    tensors = [name for node in model.graph.node for name in node.output if name in floats]
    session: Any = create_session(with_outputs(model, tensors))
    largest = dict.fromkeys(tensors, 0.0)
    for frame in frames:
        for name, values in zip(tensors, session.run(tensors, {model.graph.input[0].name: frame}), strict=True):
            largest[name] = max(largest[name], _magnitude(values))
    return largest


def keep_in_fp32(model: ModelProto, magnitudes: Mapping[str, float], modules: FloatModules) -> dict[str, str]:
    """Choose the nodes that stay in FP32 when a graph becomes FP16.

    FP16 is for the networks: what lies between the first and the last layer with a weight, as far as it neither judges
    distances or errors, nor sums or compares, nor leaves the range of FP16.

    Args:
        model: Float graph in topological order.
        magnitudes: Tensor → largest magnitude, as `measure_magnitudes` gives it.
        modules: Those of the detector.

    Returns:
        Name of a node → reason, in the order of the graph.
    """
    floats = float_tensors(model)
    values = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items() if name in floats}
    layers = {node.name for node in model.graph.node if _is_layer(node, values, modules)}
    after, before = _descendants(model, layers), _ancestors(model, layers)
    kept: dict[str, str] = {}
    for node in model.graph.node:
        if not floats.intersection((*node.input, *node.output)):
            continue  # it computes on integers or booleans
        reason = _fragility(node, modules) or _range_problem(node, floats, values, magnitudes)
        if not reason and node.name not in after:
            reason = "before the first layer: preparation of the input"
        elif not reason and node.name not in before:
            reason = "after the last layer: anomaly map and score"
        if reason:
            kept[node.name] = reason
    return kept


def _judging_part(node: NodeProto, modules: FloatModules) -> str:
    """The judging module that a node belongs to; the detector itself for what it does without a module."""
    return _ROOT if is_part(node.name, _ROOT) else modules.judge_of(node.name)


def _float_reason(node: NodeProto, modules: FloatModules) -> str:
    if _judging_part(node, modules):
        return "judges distances or errors: a mask flips on a small difference"
    if "/" in node.name:
        return "an operator without a weight of its module"
    if any(is_part(node.name, part) for part in modules.int8_start):
        return "start of the backbone: most of the noise of an INT8 backbone would come from there"
    if attribute(node, "group", 1) != 1:
        return "depthwise: little arithmetic, and one scale for channels of very different size"
    if any(is_part(node.name, part) for part in modules.first_blocks):
        return _FIRST_BLOCK_REASON
    return ""


def _up_to(model: ModelProto, parts: Collection[str]) -> list[str]:
    """Names of the nodes of some modules, and of all that they depend on, in the order of the graph."""
    sources = producers(model)
    found: dict[str, None] = {}
    waiting = [node for node in model.graph.node if any(is_part(node.name, part) for part in parts)]
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found[node.name] = None
            waiting += [sources[name] for name in node.input if name in sources]
    return [node.name for node in model.graph.node if node.name in found]


def _is_layer(node: NodeProto, values: Mapping[str, NDArray[Any]], modules: FloatModules) -> bool:
    # A slash: an operator without a weight of its module.
    is_network = "/" not in node.name and not modules.judge_of(node.name, *node.input)
    return is_network and node.op_type in (*QUANTISABLE, "ConvTranspose") and node.input[1] in values


def _fragility(node: NodeProto, modules: FloatModules) -> str:
    if judge := modules.judge_of(node.name, *node.input):
        return f"{judge} judges distances or errors"
    if node.op_type in _FRAGILE:
        return f"{node.op_type} is numerically fragile"
    if node.op_type == "Mul" and node.input[0] == node.input[1]:
        return "a square is numerically fragile"
    return ""


def _range_problem(
    node: NodeProto, floats: Collection[str], values: Mapping[str, NDArray[Any]], magnitudes: Mapping[str, float]
) -> str:
    read = [node.input[place] for place in half_inputs(node, floats)]
    for name in (*read, *(name for name in node.output if name in floats)):
        largest = _magnitude(values[name]) if name in values else magnitudes.get(name, 0.0)
        if not largest <= LARGEST_MAGNITUDE:
            return f"{name} reaches {largest:.4g}; FP16 is used up to {LARGEST_MAGNITUDE:g}"
    for name in read:
        if name in values and values[name].size == 1 and 0 < _magnitude(values[name]) < _SMALLEST_MAGNITUDE:
            return f"the constant {name} ({float(values[name].item()):.1e}) is too small for FP16"
    return ""


def _magnitude(values: NDArray[Any]) -> float:
    largest = float(np.abs(values).max(initial=0.0))
    return largest if np.isfinite(largest) else float("inf")


def _descendants(model: ModelProto, names: Collection[str]) -> set[str]:
    """Names of nodes, and of all that read what they make."""
    found, made = set(names), set[str]()
    for node in model.graph.node:
        if node.name in found or made.intersection(node.input):
            found.add(node.name)
            made.update(node.output)
    return found


def _ancestors(model: ModelProto, names: Collection[str]) -> set[str]:
    """Names of nodes, and of all that make what they read."""
    found, read = set(names), set[str]()
    for node in reversed(model.graph.node):
        if node.name in found or read.intersection(node.output):
            found.add(node.name)
            read.update(node.input)
    return found
