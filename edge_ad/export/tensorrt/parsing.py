"""ONNX file → TensorRT network, with every error of the parser told with its node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any
from pathlib import Path
from edge_ad.errors import BundleError
from edge_ad.export.tensorrt.capabilities import Capabilities
from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES

__all__ = ['BuildLog', 'first_reasons', 'make_progress_monitor', 'parse_network']

_SHOWN_EVERY_S = 2.0
_NO_DRIVER = "cudaError 35"

Log = Callable[[str], None]
_EXPORT = "Export the bundle again: edge-ad export <run>"


def first_reasons(lines: Iterable[str], *, count: int = 3) -> str:
    """The first of TensorRT's error lines that say something, as one line.

    Without a GPU every failure also logs that CUDA does not answer: of no use where there is another reason.
    """
    distinct = list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    telling = [line for line in distinct if _NO_DRIVER not in line] or distinct
    return " ".join(telling[:count]) or "it gives no reason."


class BuildLog:
    """Collects what TensorRT logs.

    Args:
        trt: The TensorRT module.

    Attributes:
        logger: The logger to hand to TensorRT; it must outlive everything made with it.
        errors: Its errors, one line each.
        warnings: Its warnings, one line each.
        layer_listing: The list of the layers that were built; empty where the log has none.
    """

    def __init__(self, trt: Any) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layer_listing = ""
        severities = trt.ILogger
        log = self

        class _Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)  # pybind11 asks for this call, not for super()

            def log(self, severity: Any, message: str) -> None:
                if severity in (severities.ERROR, severities.INTERNAL_ERROR):
                    log.errors.append(" ".join(message.split()))
                elif severity == severities.WARNING:
                    log.warnings.append(" ".join(message.split()))
                elif message.startswith("Layers:"):
                    log.layer_listing += message + "\n"

        self.logger = _Logger()


def make_progress_monitor(trt: Any, log: Log, *, every_s: float = _SHOWN_EVERY_S) -> Any:
    """A progress monitor that says how far a build has come, at most once in a while.

    Args:
        trt: TensorRT 10 or newer.
        log: Told the phase and its step.
        every_s: Seconds between two lines; a build that takes less says nothing.
    """

    class _Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._next = monotonic() + every_s

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if monotonic() >= self._next:
                self._next = monotonic() + every_s
                log(f"{phase_name}: {step + 1} of {self._steps.get(phase_name, 0)}.")
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return _Monitor()


def parse_network(
    trt: Any,
    capabilities: Capabilities,
    builder: Any,
    logger: Any,
    onnx: Path,
    *,
    typed: bool = True,
    adjusted_for_dla: bool = False,
) -> Any:
    """Parse a deploy graph; weights in files beside it are found.

    Args:
        trt: The TensorRT module.
        capabilities: What it can do.
        builder: Its builder.
        logger: Its logger.
        onnx: The file.
        typed: Whether tensors keep the types of the graph, where TensorRT can; else it chooses.
        adjusted_for_dla: Let the parser change layers and shapes so that a DLA takes more of them.

    Raises:
        BundleError: TensorRT cannot parse it, with one sentence per error; or it is no deploy graph.
    """
    network = builder.create_network(_network_flags(trt, capabilities, typed=typed))
    parser = trt.OnnxParser(network, logger)
    if adjusted_for_dla:
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)
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
