"""Which precision of a bundle to run here, and the key of its engine."""

from __future__ import annotations

import re
from typing import cast, get_args

from edge_ad.bundle import Bundle, EngineKey, find_engine
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.manifest import BF16_OF, Precision
from edge_ad.runtime.availability import TENSORRT_BACKENDS, probe_backend
from edge_ad.runtime.openvino_api import openvino_instruction_set
from edge_ad.runtime.target import processor
from edge_ad.runtime.tensorrt.api import device_target

__all__ = ["choose_precision", "engine_key", "precision_problem"]

# Fastest first, as far as can be told without measuring: FP16 gains nothing on a CPU, and a GPU wants it.
_ORDER_ON_CPU: tuple[Precision, ...] = ("int8-bf16", "int8", "bf16", "fp32")
_ORDER_ON_GPU: tuple[Precision, ...] = ("int8", "fp16", "fp32")


def engine_key(backend: str, precision: Precision) -> EngineKey:
    """What an engine of a backend must be to run on this machine."""
    return EngineKey(backend, precision, _target(backend), probe_backend(backend).version)


def _target(backend: str) -> str:
    if backend in TENSORRT_BACKENDS:
        return device_target()
    instructions = openvino_instruction_set() if backend == "openvino" else ""
    if not instructions:
        return processor().target
    words = re.sub(r"[^a-z0-9]+", "-", instructions.lower().replace("intel", "").replace("(r)", "")).strip("-")
    return f"{processor().architecture}-{words}"


def precision_problem(backend: str, precision: Precision) -> str:
    """Why a backend cannot run a precision on this machine, in words; empty where it can."""
    if precision in BF16_OF.values():
        if backend != "openvino":
            return f"{backend} has no bfloat16 mode"
        if not processor().has_bf16:
            return "this processor has no bfloat16 instructions"
        instructions = openvino_instruction_set()
        if instructions.startswith("Intel") and "bfloat16" not in instructions:
            return f"OpenVINO compiles for {instructions} here"
    return ""


def choose_precision(bundle: Bundle, precision: str = "auto", *, backend: str = "onnxruntime") -> Precision:
    """Choose what to run of a bundle.

    ``"auto"`` is the fastest that passed its accuracy gate and runs here: by the latencies that
    ``build-engine`` measured on this machine where it has built them all, else INT8 before FP32.

    Args:
        bundle: The bundle.
        precision: ``"auto"`` or a precision.
        backend: Name of the backend that is to run it.

    Raises:
        UsageError: There is no such precision, or the backend does not have it.
        BundleError: The bundle has no such graph.
        DeviceError: The processor does not have it.
    """
    if precision == "auto":
        return _fastest(bundle, backend)
    if precision not in get_args(Precision):
        raise UsageError(f"There is no precision {precision!r}.", f"Choose: auto, {', '.join(get_args(Precision))}.")
    chosen = cast("Precision", precision)
    problem = precision_problem(backend, chosen)
    if problem:
        kind = DeviceError if backend == "openvino" else UsageError
        raise kind(f"{chosen} cannot run here: {problem}.", "Use --precision auto.")
    bundle.graph(chosen)
    return chosen


def _fastest(bundle: Bundle, backend: str) -> Precision:
    order = _ORDER_ON_GPU if backend in TENSORRT_BACKENDS else _ORDER_ON_CPU
    candidates = [name for name in order if _passed(bundle, name) and not precision_problem(backend, name)]
    latencies = {name: _measured_latency(bundle, backend, name) for name in candidates}
    measured = {name: latency for name, latency in latencies.items() if latency is not None}
    if len(measured) == len(candidates) > 0:
        return min(measured, key=lambda name: measured[name])
    return candidates[0] if candidates else "fp32"


def _passed(bundle: Bundle, precision: Precision) -> bool:
    graph = bundle.manifest.graphs.get(precision)
    return graph is not None and (precision == "fp32" or (graph.gate is not None and graph.gate.passed))


def _measured_latency(bundle: Bundle, backend: str, precision: Precision) -> float | None:
    try:
        found = find_engine(bundle, engine_key(backend, precision))
    except BundleError:
        return None  # of another graph, version or machine
    return None if found is None else found.sidecar.latency_ms
