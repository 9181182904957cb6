"""From a run or a bundle to engines: each step is done when it is missing or its inputs have changed, else skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_ad.bundle import Bundle, EngineDirectory, find_engine
from edge_ad.errors import BundleError, EdgeAdError, UsageError
from edge_ad.export.precisions import GraphOptions, graphs_of_run, runnable
from edge_ad.export.tensorrt.engine import build_tensorrt_engine, find_current, plan_key
from edge_ad.export.tensorrt.config import PlanOptions
from edge_ad.manifest import Precision
from edge_ad.runtime.backend import Backend, choose_backend, get_backend, probe_backend
from edge_ad.runtime.engines import build_engine, first_that_works
from edge_ad.runtime.engines import engine_key
from edge_ad.runtime.timing import record_latencies
from edge_ad.runtime.tensorrt.api import TensorRtName
from edge_ad.runtime.tensorrt.backend import TensorRtBackend
from edge_ad.runtime.verification import check_opens

__all__ = ["BuiltEngine", "Target", "build_engines", "open_target", "run_of"]

_NO_PLAN_OPTIONS = PlanOptions()
_ANY_GRAPH = GraphOptions()

Log = Callable[[str], None]


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
    graph: GraphOptions = _ANY_GRAPH,
    log: Log = lambda text: None,
) -> list[BuiltEngine]:
    """Build engines: of this machine, or with TensorRT for RTX of the GPUs that are named.

    A run is exported, and given the INT8 or FP16 graph that is asked for, when its bundle is missing or out of date. A
    bundle alone needs neither torch nor images, but must hold the graphs.

    Args:
        path: Run or bundle.
        backend: ``"auto"`` or a backend's name.
        precisions: What to build; None for every one that the backend gains from and that passes its accuracy gate,
            or for what a bundle alone has.
        plan: How to build a TensorRT plan; other backends have no such options.
        graph: How to make the graphs of a run; one that was made otherwise is made again.
        log: Told about each step.

    Raises:
        UsageError: Neither a run nor a bundle, or options that the backend or a bundle alone does not have.
        DataError: The calibration images cannot be used.
        BundleError: A bundle alone lacks a graph.
        DeviceError: The backend does not work here.
        MissingDependencyError: The backend is not installed.
        QualityGateError: The INT8 or FP16 graph does not pass its gate.
    """
    target = open_target(path)
    if target.run_root is None and graph != _ANY_GRAPH:
        raise UsageError(
            f"{path} is a bundle without its run: its graphs are as they are and cannot be calibrated anew.",
            "Leave --max-drop, --ranges and --calibration-images out, or name the run.",
        )
    if target.run_root is None:
        Bundle.open(target.bundle_root)  # a broken one is refused before anything is said
    if backend != "auto" and get_backend(backend).runs_plans_only:  # a plan can be built where it cannot run; auto takes only what runs here
        log(f"Backend: {backend} (asked for).")
        return _built(target, backend, precisions, plan, graph, log)
    first, reason = choose_backend(backend)

    def build(name: str) -> list[BuiltEngine]:
        log(f"Backend: {name} ({reason if name == first else probe_backend(name).why}).")
        return _built(target, name, precisions, plan, graph, log)

    return first_that_works(backend, build)


def _built(
    target: Target,
    name: str,
    precisions: Sequence[Precision] | None,
    plan: PlanOptions,
    graph: GraphOptions,
    log: Log,
) -> list[BuiltEngine]:
    chosen = get_backend(name)
    _check_options(chosen, plan, precisions or ("fp16",))
    if target.run_root is None:
        bundle = Bundle.open(target.bundle_root)
        precisions = precisions or runnable(bundle, name)
    else:
        bundle, precisions = graphs_of_run(target.run_root, name, precisions, log, graph)
    for precision in precisions:
        bundle.graph(precision)
    if isinstance(chosen, TensorRtBackend):
        return [_plan(bundle, chosen.name, precision, plan, log) for precision in precisions]
    return _timed(bundle, name, [_engine(bundle, name, precision, log) for precision in precisions], log)


def _check_options(backend: Backend, plan: PlanOptions, precisions: Sequence[Precision]) -> None:
    """TensorRT is asked what it can build before a run is exported and calibrated for it; others have no options."""
    if isinstance(backend, TensorRtBackend):
        for precision in precisions:
            plan_key(backend.name, precision, plan)
    elif plan != _NO_PLAN_OPTIONS:
        raise UsageError(
            f"{backend.name} builds for the processor it runs on and has none of TensorRT's options.",
            "Leave them out, or add --backend tensorrt-rtx or --backend tensorrt.",
        )


def _engine(bundle: Bundle, backend: str, precision: Precision, log: Log) -> BuiltEngine:
    key = engine_key(backend, precision)
    try:
        found = find_engine(bundle, key)
    except BundleError:
        found = None  # of another graph, version or processor: that is why it is built now
    if found is not None and _loads(bundle, found, log):
        log(f"{found.path.name} is up to date.")
        return BuiltEngine(precision, found, True)
    log(f"Building {key.name}.")
    check_opens(bundle, backend, precision, "graph")  # it is compiled in this process now
    return BuiltEngine(precision, build_engine(bundle, backend=backend, precision=precision), False)


def _loads(bundle: Bundle, engine: EngineDirectory, log: Log) -> bool:
    try:
        check_opens(bundle, engine.sidecar.backend, engine.sidecar.precision, "built")
    except EdgeAdError as error:
        log(f"{engine.path.name} does not load here: {error.message}")
        return False
    return True


def _timed(bundle: Bundle, backend: str, built: list[BuiltEngine], log: Log) -> list[BuiltEngine]:
    """Let engines race when one of them is new: ``--precision auto`` then opens the fastest."""
    if len(built) < 2 or all(item.engine.sidecar.latency_ms is not None for item in built):
        return built
    timed = record_latencies(bundle, backend, {item.precision: item.engine for item in built})
    log("Median latency here: " + ", ".join(f"{name} {item.sidecar.latency_ms:.1f} ms" for name, item in timed.items()))
    return [replace(item, engine=timed[item.precision]) for item in built]


def _plan(bundle: Bundle, backend: TensorRtName, precision: Precision, options: PlanOptions, log: Log) -> BuiltEngine:
    key = plan_key(backend, precision, options)
    found = find_current(bundle, key, options)
    if found is not None:
        log(f"{found.path.name} is up to date.")
        return BuiltEngine(precision, found, True)
    log(f"Building {key.name}.")
    return BuiltEngine(precision, build_tensorrt_engine(bundle, key, options, log), False)
