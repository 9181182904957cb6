"""A graph of a bundle → an engine directory with its plan, the list of its layers, and the sidecar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from edge_ad.bundle import Bundle, EngineDirectory, EngineKey, find_engine, write_engine
from edge_ad.bundle.plan_layers import LAYERS_FILE, PLAN_FILE, convolution_share, layers_to_bytes
from edge_ad.errors import BundleError, DeviceError, UsageError, require
from edge_ad.export.tensorrt.capabilities import Capabilities, probe_capabilities
from edge_ad.export.tensorrt.config import PlanOptions, check_dla_precision, check_options, is_typed_for_dla
from edge_ad.manifest import Precision
from edge_ad.runtime.cuda.device import device_target
from edge_ad.runtime.tensorrt.api import TensorRtName

__all__ = ["build_tensorrt_engine", "find_current", "plan_key"]

_ENGINES = "engines"

Log = Callable[[str], None]


def plan_key(backend: TensorRtName, precision: Precision, options: PlanOptions) -> EngineKey:
    """What the engine will be: its target is what was asked for, else the GPU of this machine.

    Raises:
        DeviceError: No target was asked for, and there is no GPU.
        MissingDependencyError: TensorRT is not installed, or no package that asks for the GPU.
        UsageError: This TensorRT does not build for the target, or not in this precision for a DLA.
    """
    capabilities = probe_capabilities(backend)
    check_options(capabilities, options)
    check_dla_precision(capabilities, options, precision)
    return EngineKey(backend, precision, _target(capabilities, options), capabilities.version)


def find_current(bundle: Bundle, key: EngineKey, options: PlanOptions) -> EngineDirectory | None:
    """The engine directory of exactly this target when it is of the present graph and was built in the same way."""
    try:
        found = find_engine(bundle, key)
    except BundleError:
        return None  # of another graph, version or target: that is why it is built now
    if found is None or found.sidecar.target != key.target:
        return None
    wanted = _asked(options)
    return found if {name: found.sidecar.options.get(name) for name in wanted} == wanted else None


def build_tensorrt_engine(
    bundle: Bundle, key: EngineKey, options: PlanOptions, log: Log = lambda text: None
) -> EngineDirectory:
    """Build an engine directory.

    Args:
        bundle: The bundle.
        key: What to build, of `plan_key`.
        options: How.
        log: Told about each step.

    Raises:
        BundleError: No such graph, or one that TensorRT refuses; the message names the node.
        DeviceError: TensorRT cannot build it.
        MissingDependencyError: ``onnx`` is not installed.
        StorageError: No space or no permission; nothing is left behind.
    """
    onnx = require("onnx", extra="tensorrt")
    from edge_ad.export.tensorrt.builder import build_plan
    from edge_ad.export.tensorrt.listing import convolution_macs
    from edge_ad.export.tensorrt.dla import ranges_for_dla
    from edge_ad.export.tensorrt.qdq_check import check_qdq
    from edge_ad.export.tensorrt.sort_check import check_sorts

    backend = cast("TensorRtName", key.backend)
    # Without typed networks a DLA takes the FP32 graph and ranges.
    implicit = options.dla_core is not None and not is_typed_for_dla(probe_capabilities(backend), options)
    precision: Precision = "fp32" if implicit else key.precision
    path = bundle.graph_path(precision)
    model = _read(onnx, bundle.graph_bytes(precision), path)
    check_qdq(model, path.name)
    check_sorts(model, path.name)
    if options.timing_cache is None:
        options = replace(options, timing_cache=bundle.root / _ENGINES / f"{backend}-{key.target}.timing-cache")
    cache = ranges_for_dla(bundle, model, key.version) if implicit and key.precision == "int8" else b""

    def save(folder: Path) -> Mapping[str, str]:
        built = build_plan(
            path, backend, key.precision, options, macs=convolution_macs(model), calibration_cache=cache, log=log
        )
        (folder / PLAN_FILE).write_bytes(built.plan)
        (folder / LAYERS_FILE).write_bytes(layers_to_bytes(built.layers))
        share = convolution_share(built.layers)
        log(_summary(key, len(built.layers), share.int8, list(share.floats), built.seconds))
        return {**built.options, "graph": path.name, "int8_share": f"{share.int8:.4f}"}

    return write_engine(bundle, key, save)


def _target(capabilities: Capabilities, options: PlanOptions) -> str:
    if capabilities.compute_capabilities and options.targets:
        return "+".join(options.targets)
    try:
        here = device_target()
    except DeviceError as error:
        if not capabilities.compute_capabilities:
            raise
        raise DeviceError(
            error.message, "Name the GPUs to build for: --target sm86,sm89; that needs no GPU here."
        ) from error
    if options.targets and options.targets != (here,):
        raise UsageError(
            f"{capabilities.backend} builds for the GPU it runs on, {here}, not for {', '.join(options.targets)}.",
            "Build on the machine with that GPU, or for an RTX GPU with --backend tensorrt-rtx.",
        )
    # Ampere is compute capability 8.0.
    return "sm80plus" if options.hardware_compatibility == "ampere_plus" else here


def _asked(options: PlanOptions) -> dict[str, str]:
    """What an engine's options say when it was built with these."""
    dla = options.dla_core is not None
    return {
        "opt_batch": "1" if dla else str(options.opt_batch),
        "max_batch": "1" if dla else str(options.max_batch),
        "workspace_mib": str(options.workspace_mib or "unlimited"),
        "hardware_compatibility": options.hardware_compatibility or "none",
        "version_compatible": str(options.version_compatible).lower(),
        "dla_core": str(options.dla_core) if dla else "none",
    }


def _read(onnx: Any, content: bytes, path: Path) -> Any:
    try:
        return onnx.load_from_string(content)
    except Exception as error:  # protobuf has exceptions of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(
            f"{path} is not an ONNX graph ({reason}).", "Export the bundle again: edge-ad export <run>"
        ) from error


def _summary(key: EngineKey, layers: int, int8: float, floats: list[str], seconds: float) -> str:
    text = f"{key.name}: {layers} layers in {seconds:.1f} s"
    if key.precision != "int8":
        return f"{text}."
    return f"{text}, {int8:.1%} of the convolutions' arithmetic in INT8; {len(floats)} convolutions are not."
