"""Choose a precision, build an engine directory, open an engine."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

import numpy as np

from edge_ad.bundle import Bundle, EngineDirectory, EngineKey, find_engine, write_engine
from edge_ad.bundle.engines import rebuild_command
from edge_ad.errors import BundleError, DeviceError, EngineCrashError, ForeignEngineError, UsageError
from edge_ad.manifest import Precision
from edge_ad.prediction import Prediction
from edge_ad.runtime.backend import Backend, backend_names, choose_backend, get_backend, probe_backend
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engine_source import EngineSource

__all__ = [
    "OpenFrom",
    "build_engine",
    "choose_precision",
    "engine_key",
    "first_that_works",
    "open_engine",
    "opened_engine",
]


def engine_key(backend: str, precision: Precision) -> EngineKey:
    """The key of an engine of a backend that runs on this machine."""
    chosen = get_backend(backend)
    return EngineKey(backend, precision, chosen.target(), chosen.probe().version)


def choose_precision(bundle: Bundle, precision: str = "auto", *, backend: str = "onnxruntime") -> Precision:
    """Choose what to run of a bundle.

    ``"auto"`` is the fastest precision that passed its accuracy gate and runs here: by the latencies that
    ``build-engine`` measured on this machine where it has built all of them, else INT8 before FP32.

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
    problem = get_backend(backend).precision_problem(chosen)
    if problem:
        kind = DeviceError if chosen in get_backend(backend).precisions else UsageError
        raise kind(f"{chosen} cannot run here: {problem}.", "Use --precision auto.")
    bundle.graph(chosen)
    return chosen


def _fastest(bundle: Bundle, backend: str) -> Precision:
    chosen = get_backend(backend)
    candidates = [name for name in chosen.fastest_first if _passed(bundle, name) and not chosen.precision_problem(name)]
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


_Result = TypeVar("_Result")

OpenFrom = Literal["any", "built", "graph"]

_log = logging.getLogger(__name__)
_SAVED_TOLERANCE = 1e-4


def open_engine(
    bundle: Bundle,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    open_from: OpenFrom = "any",
) -> Engine:
    """Make an engine for a graph of a bundle; enter it to load it.

    Uses the engine directory that fits this machine where one was built and loads here; otherwise compiles the graph in
    memory, and logs it in one line. TensorRT takes minutes to build and is never built in memory.

    Args:
        bundle: The bundle.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` for the fastest that passed its gate and runs here, or a precision.
        threads: CPU threads; 0 lets the backend decide.
        open_from: ``"built"`` uses the engine directory or fails, ``"graph"`` always compiles the graph.

    Raises:
        BundleError: No such graph, or the engine directory is damaged or of another graph; or none was built that fits
            this machine, where one is needed.
        DeviceError: The backend does not work here.
        UsageError: No such backend or precision, or a negative number of threads.
    """
    if threads < 0:
        raise UsageError(f"The number of threads must be 0 or more, not {threads}.")
    name, _ = choose_backend(backend)
    key = engine_key(name, choose_precision(bundle, precision, backend=name))
    chosen = get_backend(name)
    needs_built = chosen.runs_plans_only or open_from == "built"
    directory = None if open_from == "graph" and not needs_built else _find(bundle, key, needs_built)
    if directory is None and needs_built:
        raise BundleError(
            f"{bundle.root} has no engine for {name} in {key.precision} on {key.target}.",
            f"Build it: {rebuild_command(bundle, key)}",
        )
    graph = EngineSource.of(bundle, key.precision)
    if directory is None:
        return chosen.open(graph, threads=threads)
    source = EngineSource.of(bundle, key.precision, directory)
    return chosen.open(source, threads=threads, fallback=None if needs_built else graph)


@contextmanager
def opened_engine(
    bundle: Bundle, *, backend: str = "auto", precision: str = "auto", threads: int = 0
) -> Iterator[Engine]:
    """An open engine; with ``"auto"``, of the first backend that can compile the graph.

    Raises:
        EdgeAdError: As `open_engine`, or the error of the last backend tried.
    """
    with ExitStack() as stack:
        yield first_that_works(
            backend,
            lambda name: stack.enter_context(open_engine(bundle, backend=name, precision=precision, threads=threads)),
        )


def first_that_works(backend: str, use: Callable[[str], _Result]) -> _Result:
    """The result of ``use`` for a backend; with ``"auto"``, for the first one that does not fail.

    Args:
        backend: ``"auto"`` or a backend's name.
        use: Name of a backend → the result.

    Raises:
        DeviceError: The backend, or the last one tried, fails.
        EngineCrashError: It crashes, in its own process.
    """
    first, _ = choose_backend(backend)
    names = [first]
    if backend == "auto":
        rest = backend_names()[backend_names().index(first) + 1 :]
        names += [name for name in rest if probe_backend(name).available]
    for name, other in itertools.pairwise(names):
        try:
            return use(name)
        except (DeviceError, EngineCrashError) as error:
            _log.warning("%s cannot be used: %s Trying %s.", name, _sentence(error.message), other)
    return use(names[-1])


def _find(bundle: Bundle, key: EngineKey, is_needed: bool) -> EngineDirectory | None:
    try:
        return find_engine(bundle, key)
    except ForeignEngineError as error:
        if is_needed:
            raise
        _log.warning("%s Its graph is compiled instead. %s", error.message, error.hint)
        return None


def build_engine(bundle: Bundle, *, backend: str = "auto", precision: str = "auto") -> EngineDirectory:
    """Build an engine directory for this machine, and check that its outputs match the graph's.

    Args:
        bundle: The bundle.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` or a precision.

    Raises:
        BundleError: No such graph.
        DeviceError: The backend does not work here, refuses the graph, or its saved engine gives other outputs.
        StorageError: No space or no permission; nothing is left behind.
        UsageError: No such backend or precision, or its plans are built by the export side.
    """
    name, _ = choose_backend(backend)
    chosen = get_backend(name)
    key = engine_key(name, choose_precision(bundle, precision, backend=name))
    source = EngineSource.of(bundle, key.precision)

    def save(folder: Path) -> Mapping[str, str]:
        options = chosen.build(source, folder)
        _check_saved(chosen, source, source.saved_in(folder, key.version))
        return options

    return write_engine(bundle, key, save)


def _check_saved(backend: Backend, source: EngineSource, saved: EngineSource) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *source.input_size_hw, 3), dtype=np.uint8)
    with backend.open(source, threads=1) as original, backend.open(saved, threads=1) as copy:
        difference = max(_map_difference(original.infer(batch), copy.infer(batch)) for batch in (frames[:1], frames))
    if not difference <= _SAVED_TOLERANCE:  # written so that NaN fails
        raise DeviceError(
            f"The engine that {backend.name} saved differs from its graph by {difference:.1e} of the map's range.",
            "Use another backend, and report it with what `edge-ad doctor` shows.",
        )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _map_difference(expected: list[Prediction], got: list[Prediction]) -> float:
    maps, others = (np.stack([prediction.anomaly_map for prediction in part]) for part in (expected, got))
    return float(np.abs(maps - others).max() / max(float(np.abs(maps).max()), 1e-6))
