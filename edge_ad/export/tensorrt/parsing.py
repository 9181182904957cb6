"""ONNX file → TensorRT network, with every error of the parser told with its node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.errors import BundleError
from edge_ad.export.tensorrt.capabilities import Capabilities
from edge_ad.export.tensorrt.log import first_reasons
from edge_ad.runtime.source import INPUT_NAME, OUTPUT_NAMES

__all__ = ["parse_network"]

_EXPORT = "Export the bundle again: edge-ad export <run>"


def parse_network(
    trt: Any, capabilities: Capabilities, builder: Any, logger: Any, onnx: Path, *, typed: bool = True
) -> Any:
    """Parse a deploy graph; weights in files beside it are found.

    Args:
        trt: The TensorRT module.
        capabilities: What it can do.
        builder: Its builder.
        logger: Its logger.
        onnx: The file.
        typed: Whether tensors keep the types of the graph, where TensorRT can; else it chooses.

    Raises:
        BundleError: TensorRT cannot parse it, with one sentence per error; or it is no deploy graph.
    """
    network = builder.create_network(_network_flags(trt, capabilities, typed=typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        errors = [_describe(parser.get_error(index), capabilities) for index in range(parser.num_errors)]
        raise BundleError(
            f"TensorRT cannot parse {onnx}: {' '.join(dict.fromkeys(errors)) or 'no reason given.'}", _EXPORT
        )
    _check_names(network, onnx)
    return network


def _network_flags(trt: Any, capabilities: Capabilities, *, typed: bool) -> int:
    kinds = trt.NetworkDefinitionCreationFlag
    flags = 0
    if capabilities.strongly_typed and typed:
        flags |= 1 << int(kinds.STRONGLY_TYPED)
    if capabilities.explicit_batch:
        flags |= 1 << int(kinds.EXPLICIT_BATCH)
    return flags


def _describe(error: Any, capabilities: Capabilities) -> str:
    reason = first_reasons(str(error.desc()).splitlines())
    if capabilities.error_nodes:
        name, operator = str(error.node_name()), str(error.node_operator())
        where = f"node {name!r} ({operator})" if name or operator else f"node {error.node()}"
    else:
        where = f"node {error.node()}"
    return f"{where}: {reason.rstrip('.')}."


def _check_names(network: Any, onnx: Path) -> None:
    inputs = [network.get_input(index).name for index in range(network.num_inputs)]
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    if inputs != [INPUT_NAME] or set(outputs) != set(OUTPUT_NAMES):
        raise BundleError(
            f"{onnx} takes {', '.join(inputs)} and gives {', '.join(outputs)}; a deploy graph takes {INPUT_NAME} and "
            f"gives {' and '.join(OUTPUT_NAMES)}.",
            _EXPORT,
        )
