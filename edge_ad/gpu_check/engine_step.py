"""Steps of the GPU check that run the graphs of the bundle on a backend."""

from __future__ import annotations

from dataclasses import asdict

from edge_ad.bundle import Bundle, find_engine
from edge_ad.bundle.plan_layers import PLAN_FILE
from edge_ad.export.build import build_engines
from edge_ad.export.precisions import runnable
from edge_ad.export.tensorrt.builder import count_dla_cores
from edge_ad.export.tensorrt.capabilities import probe_capabilities
from edge_ad.export.tensorrt.config import PlanOptions, is_typed_for_dla
from edge_ad.gpu_check.steps import CannotRunError, Findings, Work
from edge_ad.gpu_check.trtexec import find_trtexec, measure_with_trtexec
from edge_ad.manifest import Precision
from edge_ad.runtime.backend import BackendStatus, get_backend, probe_backend
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engines import engine_key, open_engine
from edge_ad.runtime.parity import parity_of_engine, recorded_predictions
from edge_ad.runtime.tensorrt.backend import TensorRtBackend
from edge_ad.runtime.timing import measure

__all__ = [
    "check_backend",
    "check_dla",
    "check_onnxruntime_cuda",
    "check_onnxruntime_rtx",
    "check_tensorrt",
    "check_tensorrt_rtx",
    "require_bundle",
]

_BATCH = 4


def check_onnxruntime_cuda(work: Work) -> Findings:
    """ONNX Runtime's CUDA provider."""
    return check_backend("onnxruntime-cuda", work)


def check_onnxruntime_rtx(work: Work) -> Findings:
    """ONNX Runtime's provider of TensorRT for RTX."""
    return check_backend("onnxruntime-rtx", work)


def check_tensorrt(work: Work) -> Findings:
    """TensorRT."""
    return check_backend("tensorrt", work)


def check_tensorrt_rtx(work: Work) -> Findings:
    """TensorRT for RTX."""
    return check_backend("tensorrt-rtx", work)


def check_dla(work: Work) -> Findings:
    """TensorRT on the first DLA core: FP16 where it takes typed networks, else INT8."""
    status = _require_available("tensorrt")
    if (cores := count_dla_cores("tensorrt")) == 0:
        raise CannotRunError(f"TensorRT {status.version} finds no DLA here.")
    bundle, findings, options = require_bundle(work), Findings(), PlanOptions(dla_core=0)
    precision: Precision = "fp16" if is_typed_for_dla(probe_capabilities("tensorrt"), options) else "int8"
    findings.facts["DLA cores"] = cores
    (built,) = build_engines(work.bundle, backend="tensorrt", precisions=[precision], plan=options, log=print)
    findings.check("the plan is for the DLA", built.engine.sidecar.options["dla_core"] == "0", precision)
    with open_engine(bundle, backend="tensorrt", precision=precision) as engine:
        _check_numbers(bundle, engine, precision, findings)
        _measure(bundle, engine, precision, findings)
    return findings


def check_backend(name: str, work: Work) -> Findings:
    """Build what the backend runs, hold it against the trained network, and measure it.

    Args:
        name: Name of the backend.
        work: Where the bundle is.

    Raises:
        CannotRunError: The backend does not work here, or there is no bundle.
        EdgeAdError: It cannot be built or opened.
    """
    status = _require_available(name)
    bundle = require_bundle(work)
    backend, findings = get_backend(name), Findings()
    findings.facts["version"] = status.version
    precisions = runnable(bundle, name)
    if isinstance(backend, TensorRtBackend):
        built = build_engines(work.bundle, backend=name, precisions=precisions, log=print)
        findings.check("every precision is built", len(built) == len(precisions), ", ".join(precisions))
    for precision in precisions:
        with open_engine(bundle, backend=name, precision=precision) as engine:
            _check_numbers(bundle, engine, precision, findings)
            _measure(bundle, engine, precision, findings)
        if isinstance(backend, TensorRtBackend):
            _compare_with_trtexec(bundle, backend, precision, findings)
    return findings


def _require_available(name: str) -> BackendStatus:
    status = probe_backend(name)
    if not status.available:
        hint = f"Install it: {status.install_command}" if status.install_command else ""
        raise CannotRunError(f"{name}: {status.why}.", hint)
    return status


def require_bundle(work: Work) -> Bundle:
    """The bundle to run.

    Raises:
        CannotRunError: There is none.
    """
    if not (work.bundle / "manifest.json").is_file():
        raise CannotRunError(
            "There is no bundle to run: none was given, and none could be made here.",
            "Give one: edge-ad doctor --gpu --bundle DIR",
        )
    return Bundle.open(work.bundle)


def _check_numbers(bundle: Bundle, engine: Engine, precision: Precision, findings: Findings) -> None:
    reference = bundle.reference()
    parity = parity_of_engine(bundle, engine, reference.images, recorded_predictions(reference), batch=_BATCH)
    what = "gives the trained numbers" if precision == "fp32" else "stays within the limits of its accuracy gate"
    found = f"map {parity.deviation.map:.1e} off, correlation {parity.map_correlation:.4f}"
    findings.check(f"{precision} {what}", parity.passed, f"{found}: {parity.problem}" if parity.problem else found)


def _measure(bundle: Bundle, engine: Engine, precision: Precision, findings: Findings) -> None:
    frame = bundle.reference().images[:1]
    engine.warm_up()
    stats = measure(lambda: engine.infer(frame))
    facts: dict[str, float | int | bool] = {"p50": stats.p50_ms, "p99": stats.p99_ms}
    if (on_device := engine.timings()) is not None:
        facts |= asdict(on_device)
    findings.facts[f"{precision}: one frame, ms"] = facts


def _compare_with_trtexec(bundle: Bundle, backend: TensorRtBackend, precision: Precision, findings: Findings) -> None:
    program, engine = find_trtexec(backend), find_engine(bundle, engine_key(backend.name, precision))
    if program is None or engine is None:
        findings.facts["trtexec"] = "not installed"
        return
    theirs = measure_with_trtexec(backend, program, engine.path / PLAN_FILE, bundle.manifest.input_size_hw)
    if not theirs.get("compute_ms"):
        findings.check(f"{precision}: {program.name} opens the plan", False)
        return
    findings.facts[f"{precision}: by {program.name}, ms"] = theirs
    ours = findings.facts[f"{precision}: one frame, ms"].get("compute_ms", 0.0)
    findings.facts[f"{precision}: our time of the plan over theirs"] = ours / theirs["compute_ms"]
