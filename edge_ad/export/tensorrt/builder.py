"""One ONNX file → one plan, with the list of its layers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from edge_ad.bundle.plan_layers import PlanLayer
from edge_ad.errors import DeviceError
from edge_ad.export.tensorrt.capabilities import Capabilities, probe_capabilities
from edge_ad.export.tensorrt.config import (
    PlanOptions,
    check_dla_core,
    check_dla_precision,
    check_options,
    is_typed_for_dla,
    make_config,
    save_timing_cache,
)
from edge_ad.export.tensorrt.dla import make_calibrator
from edge_ad.export.tensorrt.listing import ListedLayer, layers_from_inspector, layers_from_log, with_convolutions
from edge_ad.export.tensorrt.parsing import BuildLog, first_reasons, parse_network
from edge_ad.manifest import Precision
from edge_ad.runtime.tensorrt.api import TensorRtName, tensorrt_module

__all__ = ["BuiltPlan", "build_plan", "count_dla_cores"]

Log = Callable[[str], None]


@dataclass(frozen=True)
class BuiltPlan:
    """A plan in memory.

    Attributes:
        plan: The plan, as TensorRT serialises it and trtexec opens it.
        layers: Its layers.
        options: Every option it was built with.
        seconds: How long parsing and building took.
    """

    plan: bytes
    layers: list[PlanLayer]
    options: dict[str, str]
    seconds: float


def build_plan(
    onnx: Path,
    backend: TensorRtName,
    precision: Precision,
    options: PlanOptions,
    *,
    macs: Mapping[str, int],
    calibration_cache: bytes = b"",
    log: Log = lambda text: None,
) -> BuiltPlan:
    """Build a plan.

    Args:
        onnx: Deploy graph that carries its own precision; for a DLA without typed networks the FP32 graph.
        backend: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        precision: What the graph is.
        options: How to build.
        macs: Convolution of the graph → multiply-accumulates for one image.
        calibration_cache: Ranges for a DLA, as a TensorRT calibration cache.
        log: Told about the progress.

    Raises:
        BundleError: TensorRT cannot parse the graph.
        DeviceError: TensorRT cannot build it; the message is TensorRT's own. Or the DLA core is not there.
        MissingDependencyError: TensorRT is not installed or does not load.
        UsageError: This TensorRT does not have what the options ask for.
    """
    capabilities = probe_capabilities(backend)
    check_options(capabilities, options)
    check_dla_precision(capabilities, options, precision)
    trt, start = tensorrt_module(backend), perf_counter()
    build_log = BuildLog(trt)
    builder = _make_builder(trt, build_log, backend)
    check_dla_core(builder, capabilities, options)
    typed_for_dla = is_typed_for_dla(capabilities, options)
    is_typed = options.dla_core is None or typed_for_dla
    network = parse_network(
        trt, capabilities, builder, build_log.logger, onnx, typed=is_typed, adjusted_for_dla=typed_for_dla
    )
    config, written = make_config(trt, capabilities, builder, network, options, precision, options.timing_cache, log)
    if not is_typed and precision == "int8":
        config.int8_calibrator = make_calibrator(trt, calibration_cache)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise DeviceError(
            f"{backend} cannot build {onnx.name}: {first_reasons(build_log.errors)}", "Use another backend or precision."
        )
    plan = bytes(serialized)
    save_timing_cache(config, options.timing_cache if written["timing_cache"] != "none" else None)
    layers = with_convolutions(_list_layers(trt, capabilities, build_log, plan), macs)
    seconds = perf_counter() - start
    # TensorRT's objects need their builder and their logger when they go: they go here, in this order.
    del serialized, config, network, builder
    gc.collect()
    return BuiltPlan(plan, layers, written, seconds)


def count_dla_cores(backend: TensorRtName) -> int:
    """How many DLA cores TensorRT finds on this machine.

    Raises:
        DeviceError: There is no GPU.
        MissingDependencyError: TensorRT is not installed or does not load.
    """
    trt = tensorrt_module(backend)
    log = BuildLog(trt)
    return int(_make_builder(trt, log, backend).num_DLA_cores)


def _make_builder(trt: Any, log: BuildLog, backend: TensorRtName) -> Any:
    try:
        return trt.Builder(log.logger)
    except (TypeError, RuntimeError) as error:  # a factory that gave NULL: TensorRT logged why
        raise DeviceError(
            f"{backend} has no builder here: {first_reasons(log.errors)}",
            "Run: edge-ad doctor, for the driver and the GPU.",
        ) from error


def _list_layers(trt: Any, capabilities: Capabilities, log: BuildLog, plan: bytes) -> list[ListedLayer]:
    """From the log where the build wrote them there, else from the engine, which needs a GPU."""
    if log.layer_listing:
        return layers_from_log(log.layer_listing)
    engine = trt.Runtime(log.logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise DeviceError(f"{capabilities.backend} cannot open the plan it has just built: {first_reasons(log.errors)}")
    return layers_from_inspector(
        engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    )
