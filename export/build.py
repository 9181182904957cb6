"""From a run or a bundle to engines: each step is done when it is missing or its inputs have changed, else skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edge_ad.bundle import Bundle, EngineDirectory, EngineKey, find_engine
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.export.tensorrt.engine import build_tensorrt_engine, find_current, plan_key
from edge_ad.export.tensorrt.options import PlanOptions
from edge_ad.manifest import Precision
from edge_ad.runtime.availability import BACKENDS, probe_backend
from edge_ad.runtime.backends import build_engine, choose_backend
from edge_ad.runtime.target import processor
from edge_ad.runtime.tensorrt.api import Backend

__all__ = ["BuiltEngine", "Target", "build_engines", "open_target", "run_of"]

_PLAN_BACKENDS = ("tensorrt", "tensorrt-rtx")
_NO_PLAN_OPTIONS = PlanOptions()

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """What a user named: a run, a bundle, or a run's own bundle.

    Attributes:
        bundle_root: Folder of the bundle; it may not be there yet.
        run_root: Folder of the run; None for a bundle alone.
    """

    bundle_root: Path
    run_root: Path | None


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that is ready.

    Attributes:
        precision: Its precision.
        engine: Its directory.
        was_current: Whether it was there already and fits.
    """

    precision: Precision
    engine: EngineDirectory
    was_current: bool


def open_target(path: Path) -> Target:
    """Tell a run from a bundle.

    Raises:
        UsageError: Neither.
    """
    if (path / "manifest.json").is_file():
        parent = path.resolve().parent
        return Target(path, parent if (parent / "run.json").is_file() and path.resolve().name == "bundle" else None)
    if (path / "run.json").is_file():
        return Target(path / "bundle", path)
    problem = "is neither a run (run.json) nor a bundle (manifest.json)" if path.exists() else "does not exist"
    raise UsageError(f"{path} {problem}.", "Name the folder that edge-ad train or edge-ad export wrote.")


def run_of(path: Path) -> Path:
    """Folder of the run behind a run or a run's own bundle.

    Raises:
        UsageError: Neither a run nor a bundle, or a bundle without its run.
    """
    target = open_target(path)
    if target.run_root is None:
        raise UsageError(
            f"{path} is a bundle without its run: the trained network and its images are needed.",
            "Name the run, on the workstation that trained it.",
        )
    return target.run_root


def build_engines(
    path: Path,
    *,
    backend: str = "auto",
    precisions: Sequence[Precision] | None = None,
    plan: PlanOptions = _NO_PLAN_OPTIONS,
    say: Say = lambda text: None,
) -> list[BuiltEngine]:
    """Build engines: of this machine, or with TensorRT for RTX of the GPUs that are named.

    A run is exported, and given the INT8 or FP16 graph that is asked for, when its bundle is missing or out of date. A
    bundle alone needs neither torch nor images, but must hold the graphs.

    Args:
        path: Run or bundle.
        backend: ``"auto"`` or a backend's name.
        precisions: What to build; None for INT8 and FP32, or for what a bundle alone has.
        plan: How to build a TensorRT plan; other backends have no such options.
        say: Told about each step.

    Raises:
        UsageError: Neither a run nor a bundle, or options that the backend does not have.
        BundleError: A bundle alone lacks a graph.
        DeviceError: The backend does not work here.
        MissingDependencyError: The backend is not installed.
        QualityGateError: The INT8 or FP16 graph does not pass its gate.
    """
    target = open_target(path)
    name, reason = _choose(backend, plan)
    if target.run_root is None:
        bundle = Bundle.open(target.bundle_root)
        precisions = precisions or tuple(bundle.manifest.graphs)
        say(f"Backend: {name} ({reason}).")
    else:
        say(f"Backend: {name} ({reason}).")
        precisions = precisions or ("int8", "fp32")
        bundle = _up_to_date(target.run_root, _gate_backend(name), precisions, say)
    for precision in precisions:
        bundle.graph(precision)
    if name in _PLAN_BACKENDS:
        return [_plan(bundle, cast("Backend", name), precision, plan, say) for precision in precisions]
    return [_engine(bundle, name, precision, say) for precision in precisions]


def _choose(backend: str, plan: PlanOptions) -> tuple[str, str]:
    """The backend; one of TensorRT is asked what it can build, before a run is exported and calibrated for it."""
    # Asked for by name, a plan can be built where it cannot run; auto takes only what runs here.
    name, reason = (backend, "asked for") if backend in _PLAN_BACKENDS else choose_backend(backend)
    if name in _PLAN_BACKENDS:
        plan_key(cast("Backend", name), "fp32", plan)
    elif plan != _NO_PLAN_OPTIONS:
        raise UsageError(
            f"{name} builds for the processor it runs on and has none of TensorRT's options.",
            "Leave them out, or add --backend tensorrt-rtx or --backend tensorrt.",
        )
    return name, reason


def _gate_backend(name: str) -> str:
    """Where the accuracy gate runs: a plan may be for another machine, and its graph is the one that others run."""
    if name not in _PLAN_BACKENDS:
        return name
    for candidate in BACKENDS:
        if candidate not in _PLAN_BACKENDS and probe_backend(candidate).available:
            return candidate
    raise DeviceError("No backend can run the accuracy gate here.", "Install one: pip install onnxruntime")


def _up_to_date(run_root: Path, backend: str, precisions: Sequence[Precision], say: Say) -> Bundle:
    # torch and onnx are needed here only: a bundle alone is built without them.
    from edge_ad.export.bundle_export import export_run, is_current
    from edge_ad.export.fp16 import Fp16Options, add_fp16_graph, has_fp16_graph
    from edge_ad.export.int8 import CalibrationOptions, calibrate_bundle, has_int8_graph
    from edge_ad.training.runs import load_run

    run = load_run(run_root)
    bundle = is_current(run)
    if bundle is None:
        bundle = export_run(run, say)
    else:
        say(f"The bundle {bundle.root} is up to date.")
    if "int8" in precisions and not has_int8_graph(bundle):
        bundle = calibrate_bundle(run, bundle, CalibrationOptions(backend), say)
    if "fp16" in precisions and not has_fp16_graph(bundle):
        bundle = add_fp16_graph(run, bundle, Fp16Options(backend), say)
    return bundle


def _engine(bundle: Bundle, backend: str, precision: Precision, say: Say) -> BuiltEngine:
    key = EngineKey(backend, precision, processor().target, probe_backend(backend).version)
    try:
        found = find_engine(bundle, key)
    except BundleError:
        found = None  # of another graph, version or processor: that is why it is built now
    if found is not None:
        say(f"{found.path.name} is up to date.")
        return BuiltEngine(precision, found, True)
    say(f"Building {key.name}.")
    return BuiltEngine(precision, build_engine(bundle, backend=backend, precision=precision), False)


def _plan(bundle: Bundle, backend: Backend, precision: Precision, options: PlanOptions, say: Say) -> BuiltEngine:
    key = plan_key(backend, precision, options)
    found = find_current(bundle, key, options)
    if found is not None:
        say(f"{found.path.name} is up to date.")
        return BuiltEngine(precision, found, True)
    say(f"Building {key.name}.")
    return BuiltEngine(precision, build_tensorrt_engine(bundle, key, options, say), False)
