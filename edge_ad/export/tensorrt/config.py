"""The builder's configuration: every option of a build, applied and written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from edge_ad.errors import UsageError
from typing import Any
from edge_ad.storage import storage_errors, write_file
from collections.abc import Callable
from edge_ad.errors import DeviceError, UsageError
from edge_ad.export.tensorrt.capabilities import Capabilities
from edge_ad.export.tensorrt.parsing import make_progress_monitor
from edge_ad.manifest import Precision

__all__ = [
    "PlanOptions",
    "attach_timing_cache",
    "check_dla_core",
    "check_dla_precision",
    "check_options",
    "is_typed_for_dla",
    "make_config",
    "parse_targets",
    "save_timing_cache",
]

_MIB = 1 << 20

Log = Callable[[str], None]


@dataclass(frozen=True)
class PlanOptions:
    """Options of a build.

    Attributes:
        targets: GPUs to build for, such as ``("sm86", "sm89")``; empty for that of this machine.
        max_batch: Largest batch the plan takes; the smallest is 1.
        opt_batch: Batch it is tuned for.
        workspace_mib: Most scratch memory a layer may use, in MiB; 0 leaves it to TensorRT.
        hardware_compatibility: ``"ampere_plus"``: also for other GPUs from Ampere on;
            ``"same_compute_capability"``: also for other GPUs of the same compute capability; empty: for this GPU.
        version_compatible: Also for later versions of TensorRT.
        timing_cache: File of measured kernels to start from and to add to; None for that beside the engines.
        dla_core: DLA to build for; None for the GPU.
    """

    targets: tuple[str, ...] = ()
    max_batch: int = 8
    opt_batch: int = 1
    workspace_mib: int = 0
    hardware_compatibility: str = ""
    version_compatible: bool = False
    timing_cache: Path | None = None
    dla_core: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.opt_batch <= self.max_batch:
            raise UsageError(
                f"A plan for batches of 1 to {self.max_batch} cannot be tuned for {self.opt_batch}.",
                "Give --max-batch 1 or more.",
            )
        if self.workspace_mib < 0:
            raise UsageError(f"The workspace must be 0 MiB or more, not {self.workspace_mib}.")


def parse_targets(texts: list[str]) -> tuple[str, ...]:
    """Read ``sm86,sm89``, ``8.6`` or several of them, without repetitions, in ascending order.

    Raises:
        UsageError: Something else.
    """
    words = [word.strip().lower() for text in texts for word in text.split(",") if word.strip()]
    return tuple(sorted(dict.fromkeys(map(_target, words)), key=lambda name: int(name[2:])))


def _target(word: str) -> str:
    digits = word.removeprefix("sm").replace("_", "").replace(".", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) in (2, 3)):
        raise UsageError(f"{word!r} is no GPU target.", "Name a compute capability, such as --target sm89.")
    return f"sm{int(digits)}"


def attach_timing_cache(config: Any, path: Path | None) -> str:
    """Let a build start from a file of measured kernels.

    Args:
        config: The builder's configuration.
        path: The file; it may not be there yet. None for no cache.

    Returns:
        ``"none"``, ``"new"``, ``"read"``, or ``"replaced"`` where TensorRT does not take the file: it is of another
        version or GPU.

    Raises:
        StorageError: The file cannot be read.
    """
    if path is None:
        return "none"
    content = b""
    if path.is_file():
        with storage_errors(path):
            content = path.read_bytes()
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return "read" if content else "new"
    empty = config.create_timing_cache(b"")
    if empty is not None:
        config.set_timing_cache(empty, ignore_mismatch=False)
    return "replaced" if content else "none"


def save_timing_cache(config: Any, path: Path | None) -> None:
    """Write what the build has measured, atomically; nothing where TensorRT keeps no cache.

    Raises:
        StorageError: No space or no permission; the old file is untouched.
    """
    if path is None:
        return
    cache = config.get_timing_cache()
    content = bytes(cache.serialize()) if cache is not None else b""
    if content:
        write_file(path, content)


def check_options(capabilities: Capabilities, options: PlanOptions) -> None:
    """Refuse what this TensorRT cannot build, before anything is built.

    Raises:
        UsageError: A target, level or flag it does not have; the hint is the way out.
    """
    name = f"{capabilities.backend} {capabilities.version}"
    _check_targets(capabilities, options, name)
    level = options.hardware_compatibility
    if level and level not in capabilities.hardware_compatibility:
        have = ", ".join(capabilities.hardware_compatibility) or "none; name several targets instead"
        raise UsageError(f"{name} has no hardware compatibility {level!r}.", f"It has: {have}.")
    if options.version_compatible and not capabilities.version_compatible:
        raise UsageError(f"{name} builds no version-compatible plans.", "Leave --version-compatible out.")
    if options.dla_core is not None and not (capabilities.dla and (capabilities.calibrator or capabilities.dla_typed)):
        raise UsageError(
            f"{name} builds for no DLA.",
            "Build for the GPU, on a Jetson Orin with TensorRT 8.6 to 10.7 (JetPack 6), or on an AGX Orin with 11.4.1.",
        )


def check_dla_precision(capabilities: Capabilities, options: PlanOptions, precision: Precision) -> None:
    """Refuse a precision that a strongly typed network cannot bring to a DLA.

    Raises:
        UsageError: It is another than FP16; the hint is the way out.
    """
    if is_typed_for_dla(capabilities, options) and precision != "fp16":
        raise UsageError(
            f"{capabilities.backend} {capabilities.version} takes a DLA's precision from the graph, and edge-ad builds "
            f"FP16 for it, not {precision.upper()}.",
            "Build it with --precision fp16.",
        )


def is_typed_for_dla(capabilities: Capabilities, options: PlanOptions) -> bool:
    """Whether the plan is for a DLA, from a strongly typed network; before TensorRT 11 it is not, and takes ranges."""
    return options.dla_core is not None and capabilities.dla_typed and not capabilities.calibrator


def check_dla_core(builder: Any, capabilities: Capabilities, options: PlanOptions) -> None:
    """Refuse a DLA core that this machine does not have.

    Raises:
        DeviceError: TensorRT finds fewer.
    """
    if options.dla_core is not None and options.dla_core >= int(builder.num_DLA_cores):
        raise DeviceError(
            f"{capabilities.backend} {capabilities.version} finds {builder.num_DLA_cores} DLA cores here, and no core "
            f"{options.dla_core}.",
            "Build for the GPU: leave --dla out. See which boards and versions have a DLA: docs/reference/jetson.md",
        )


def _check_targets(capabilities: Capabilities, options: PlanOptions, name: str) -> None:
    known = capabilities.compute_capabilities
    refused = [target for target in options.targets if known and target not in known]
    if refused:
        way_out = (
            "Build on that machine with --backend tensorrt, which a Jetson needs."
            if set(refused) & {"sm72", "sm87", "sm101", "sm110"}
            else "Build on a machine with that GPU: --backend tensorrt."
        )
        raise UsageError(f"{name} does not build for {', '.join(refused)}; it builds for {', '.join(known)}.", way_out)


def make_config(
    trt: Any,
    capabilities: Capabilities,
    builder: Any,
    network: Any,
    options: PlanOptions,
    precision: Precision,
    timing_cache: Path | None,
    log: Log,
) -> tuple[Any, dict[str, str]]:
    """Configure a build.

    Args:
        trt: The TensorRT module.
        capabilities: What it can do.
        builder: Its builder.
        network: The parsed network.
        options: How to build; checked by `check_options`.
        precision: Precision of the graph.
        timing_cache: File of measured kernels, or None.
        log: Told about the progress.

    Returns:
        The configuration, and every option of it in words, for the sidecar.
    """
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    written = {"profiling_verbosity": "detailed"}
    written |= _set_batch(builder, config, network, options)
    written |= _set_workspace(trt, config, options)
    written |= _set_targets(trt, config, options)
    written |= _set_permissions(trt, capabilities, config, options, precision)
    written |= _set_compatibility(trt, config, options)
    if capabilities.compute_capabilities:  # TensorRT for RTX measures nothing while it builds
        timing_cache = None
    written["timing_cache"] = attach_timing_cache(config, timing_cache)
    if capabilities.progress:
        config.progress_monitor = make_progress_monitor(trt, log)
    return config, written


def _set_batch(builder: Any, config: Any, network: Any, options: PlanOptions) -> dict[str, str]:
    image = network.get_input(0)
    per_image = list(image.shape)[1:]
    # A DLA takes one batch, not a range.
    low, best, high = (1, 1, 1) if options.dla_core is not None else (1, options.opt_batch, options.max_batch)
    profile = builder.create_optimization_profile()
    profile.set_shape(image.name, [low, *per_image], [best, *per_image], [high, *per_image])
    if config.add_optimization_profile(profile) < 0:
        raise DeviceError(f"TensorRT refuses batches of {low} to {high} of {per_image}.")
    return {"min_batch": str(low), "opt_batch": str(best), "max_batch": str(high)}


def _set_workspace(trt: Any, config: Any, options: PlanOptions) -> dict[str, str]:
    if options.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    return {"workspace_mib": str(options.workspace_mib or "unlimited")}


def _set_targets(trt: Any, config: Any, options: PlanOptions) -> dict[str, str]:
    if not options.targets or not hasattr(trt, "ComputeCapability"):
        return {}
    config.num_compute_capabilities = len(options.targets)
    for index, target in enumerate(options.targets):
        config.set_compute_capability(trt.ComputeCapability.__members__[target.upper()], index)
    return {"compute_capabilities": " ".join(options.targets)}


def _set_permissions(
    trt: Any, capabilities: Capabilities, config: Any, options: PlanOptions, precision: Precision
) -> dict[str, str]:
    """Allow what the graph carries, where the types of the graph do not say it themselves."""
    implicit = options.dla_core is not None and not is_typed_for_dla(capabilities, options)
    flags: list[str] = []
    if implicit or not capabilities.strongly_typed:
        flags += ["FP16"] if capabilities.fp16_permission and (implicit or precision != "fp32") else []
        flags += ["INT8"] if capabilities.int8_permission and precision == "int8" else []
    if options.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        flags.append("GPU_FALLBACK")
    for flag in flags:
        config.set_flag(trt.BuilderFlag.__members__[flag])
    if precision == "fp32":  # TensorFloat-32 has ten bits: FP32 would not be the numbers of the trained network
        config.clear_flag(trt.BuilderFlag.TF32)
    return {
        "strongly_typed": str(capabilities.strongly_typed and not implicit).lower(),
        "flags": " ".join(flags).lower() or "none",
        "dla_core": "none" if options.dla_core is None else str(options.dla_core),
    }


def _set_compatibility(trt: Any, config: Any, options: PlanOptions) -> dict[str, str]:
    if options.hardware_compatibility:
        levels = trt.HardwareCompatibilityLevel.__members__
        config.hardware_compatibility_level = levels[options.hardware_compatibility.upper()]
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    return {
        "hardware_compatibility": options.hardware_compatibility or "none",
        "version_compatible": str(options.version_compatible).lower(),
    }
