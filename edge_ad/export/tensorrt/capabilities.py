"""What the installed TensorRT can do, found out by looking which symbols its module has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_ad.runtime.tensorrt.api import TensorRtName, tensorrt_module

__all__ = ["Capabilities", "probe_capabilities"]


@dataclass(frozen=True)
class Capabilities:
    """What a TensorRT module offers to a builder.

    Attributes:
        backend: Whose module it is.
        version: Full version.
        strongly_typed: Tensors keep the types of the graph: the flag is there.
        explicit_batch: A network must be asked for an explicit batch, or may be.
        fp16_permission: FP16 kernels need a flag where the network is not strongly typed.
        int8_permission: INT8 kernels need a flag where the network is not strongly typed.
        calibrator: Ranges of a network without Q/DQ can be given: what the implicit way to a DLA needs.
        dla: Layers can be sent to a DLA.
        dla_typed: A DLA takes a strongly typed network, whose FP16 tensors say what it computes.
        progress: The builder reports its progress.
        error_nodes: A parser error names its node and operator.
        compute_capabilities: Targets, such as ``"sm89"``, it compiles for without such a GPU; none where it builds for
            the GPU it runs on.
        hardware_compatibility: Names of the levels, such as ``"ampere_plus"``.
        version_compatible: A plan can be made for later versions.
    """

    backend: TensorRtName
    version: str
    strongly_typed: bool
    explicit_batch: bool
    fp16_permission: bool
    int8_permission: bool
    calibrator: bool
    dla: bool
    dla_typed: bool
    progress: bool
    error_nodes: bool
    compute_capabilities: tuple[str, ...]
    hardware_compatibility: tuple[str, ...]
    version_compatible: bool


def probe_capabilities(backend: TensorRtName) -> Capabilities:
    """Look at the installed module of a backend.

    Raises:
        MissingDependencyError: It is not installed or does not load.
    """
    trt = tensorrt_module(backend)
    flags = trt.BuilderFlag.__members__
    network_flags = trt.NetworkDefinitionCreationFlag.__members__
    return Capabilities(
        backend=backend,
        version=str(trt.__version__),
        strongly_typed="STRONGLY_TYPED" in network_flags,
        explicit_batch="EXPLICIT_BATCH" in network_flags,
        fp16_permission="FP16" in flags,
        int8_permission="INT8" in flags,
        calibrator=hasattr(trt, "IInt8EntropyCalibrator2"),
        # TensorRT for RTX has the symbols and no DLA: what it compiles for has none.
        dla="DLA" in trt.DeviceType.__members__ and not hasattr(trt, "ComputeCapability"),
        dla_typed="ADJUST_FOR_DLA" in trt.OnnxParserFlag.__members__ and not hasattr(trt, "ComputeCapability"),
        progress=hasattr(trt, "IProgressMonitor"),
        error_nodes=hasattr(trt.ParserError, "node_name"),
        compute_capabilities=_targets(trt),
        hardware_compatibility=_levels(trt),
        version_compatible="VERSION_COMPATIBLE" in flags and not hasattr(trt, "ComputeCapability"),
    )


def _targets(trt: Any) -> tuple[str, ...]:
    members = trt.ComputeCapability.__members__ if hasattr(trt, "ComputeCapability") else {}
    return tuple(name.lower() for name in members if name.startswith("SM"))


def _levels(trt: Any) -> tuple[str, ...]:
    if hasattr(trt, "ComputeCapability"):  # TensorRT for RTX names its targets instead, and ignores the level
        return ()
    members = getattr(trt, "HardwareCompatibilityLevel", None)
    return tuple(name.lower() for name in members.__members__ if name != "NONE") if members is not None else ()
