"""Choosing a backend and a precision, building an engine directory, and opening an engine."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from edge_ad.bundle import Bundle, EngineDirectory, EngineKey, find_engine, write_engine
from edge_ad.bundle.engines import rebuild_command
from edge_ad.errors import BundleError, DeviceError, EngineCrashError, ForeignEngineError, UsageError
from edge_ad.prediction import Prediction
from edge_ad.runtime.availability import BACKENDS, TENSORRT_BACKENDS, BackendStatus, probe, probe_backend
from edge_ad.runtime.base import Engine
from edge_ad.runtime.choice import choose_precision, engine_key
from edge_ad.runtime.onnxruntime_engine import OnnxRuntimeEngine, save_onnxruntime
from edge_ad.runtime.openvino_engine import OpenVinoEngine, save_openvino
from edge_ad.runtime.source import EngineSource
from edge_ad.runtime.tensorrt.engine import TensorRtEngine

__all__ = [
    "BACKENDS",
    "BackendStatus",
    "OpenFrom",
    "build_engine",
    "choose_backend",
    "choose_precision",
    "first_that_works",
    "open_engine",
    "opened_engine",
    "probe",
    "probe_backend",
]

_Result = TypeVar("_Result")

OpenFrom = Literal["any", "built", "graph"]

_log = logging.getLogger(__name__)
_SAVED_TOLERANCE = 1e-4
_SAVERS = {"openvino": save_openvino, "onnxruntime": save_onnxruntime}


def choose_backend(name: str = "auto") -> tuple[str, str]:
    """Choose a backend that works here.

    Args:
        name: ``"auto"`` or a backend's name.

    Returns:
        Its name, and the reason for it in words.

    Raises:
        UsageError: There is no such backend.
        DeviceError: It, or with ``"auto"`` every one, does not work here; the hint is the command that installs it.
    """
    if name != "auto":
        status = probe_backend(name)
        if not status.available:
            raise DeviceError(f"The backend {name} cannot be used: {status.why}.", _remedy(status))
        return name, "asked for"
    passed_over: list[str] = []
    for candidate in BACKENDS:
        status = probe_backend(candidate)
        if status.available:
            return candidate, "; ".join([f"the first that {status.why}", *passed_over])
        passed_over.append(f"{candidate}: {status.why}")
    raise DeviceError("No backend can be used here.", "Install one: pip install onnxruntime")


def open_engine(
    bundle: Bundle,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    open_from: OpenFrom = "any",
) -> Engine:
    """Make an engine for a graph of a bundle; enter it to load it.

    The engine directory that fits this machine is used where one was built and loads here; else the engine is compiled
    in memory from the graph, which is said in one line. TensorRT takes minutes to build and is never built in memory.

    Args:
        bundle: The bundle.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` for the fastest that passed its gate and runs here, or a precision.
        threads: CPU threads; 0 lets the backend decide.
        open_from: ``"built"`` takes the engine directory or fails, ``"graph"`` compiles the graph whatever was built.

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
    needs_built = name in TENSORRT_BACKENDS or open_from == "built"
    directory = None if open_from == "graph" and not needs_built else _find(bundle, key, needs_built)
    if directory is None and needs_built:
        raise BundleError(
            f"{bundle.root} has no engine for {name} in {key.precision} on {key.target}.",
            f"Build it: {rebuild_command(bundle, key)}",
        )
    graph = EngineSource.of(bundle, key.precision)
    if directory is None:
        return _engine(name, graph, threads)
    source = EngineSource.of(bundle, key.precision, directory)
    return _engine(name, source, threads, None if needs_built else graph)


@contextmanager
def opened_engine(
    bundle: Bundle, *, backend: str = "auto", precision: str = "auto", threads: int = 0
) -> Iterator[Engine]:
    """An open engine; with ``"auto"`` that of the first backend that can compile the graph.

    Raises:
        EdgeAdError: As `open_engine`, and what opening the last of them raises.
    """
    with ExitStack() as stack:
        yield first_that_works(
            backend,
            lambda name: stack.enter_context(open_engine(bundle, backend=name, precision=precision, threads=threads)),
        )


def first_that_works(backend: str, use: Callable[[str], _Result]) -> _Result:
    """What ``use`` makes of a backend; with ``"auto"``, of the first that does not fail at it.

    Args:
        backend: ``"auto"`` or a backend's name.
        use: Name of a backend → the result.

    Raises:
        DeviceError: The backend cannot, or the last of them.
        EngineCrashError: It crashes, in a process of its own, or the last of them.
    """
    first, _ = choose_backend(backend)
    names = [first]
    if backend == "auto":
        rest = BACKENDS[BACKENDS.index(first) + 1 :]
        names += [name for name in rest if probe_backend(name).available]
    for name, other in itertools.pairwise(names):
        try:
            return use(name)
        except (DeviceError, EngineCrashError) as error:
            _log.warning("%s cannot be used: %s Going on with %s.", name, _sentence(error.message), other)
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
    """Build an engine directory for this machine, and check that it answers as the graph does.

    Args:
        bundle: The bundle.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` or a precision.

    Raises:
        BundleError: No such graph.
        DeviceError: The backend does not work here, refuses the graph, or its saved engine answers differently.
        StorageError: No space or no permission; nothing is left behind.
        UsageError: No such backend or precision, or one whose plans the export side builds.
    """
    name, _ = choose_backend(backend)
    if name not in _SAVERS:
        raise UsageError(f"{name} plans are not built on the device side.", "Use: edge-ad build-engine")
    key = engine_key(name, choose_precision(bundle, precision, backend=name))
    source = EngineSource.of(bundle, key.precision)

    def save(folder: Path) -> Mapping[str, str]:
        options = _SAVERS[name](source, folder)
        _check_saved(name, source, source.saved_in(folder, key.version))
        return options

    return write_engine(bundle, key, save)


def _engine(backend: str, source: EngineSource, threads: int, spare: EngineSource | None = None) -> Engine:
    if backend == "openvino":
        return OpenVinoEngine(source, threads=threads, spare=spare)
    if backend in TENSORRT_BACKENDS:
        return TensorRtEngine(backend, source)
    return OnnxRuntimeEngine(source, threads=threads, spare=spare)


def _check_saved(backend: str, source: EngineSource, saved: EngineSource) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *source.input_size_hw, 3), dtype=np.uint8)
    with _engine(backend, source, threads=1) as original, _engine(backend, saved, threads=1) as copy:
        difference = max(_map_difference(original.infer(batch), copy.infer(batch)) for batch in (frames[:1], frames))
    if not difference <= _SAVED_TOLERANCE:  # written so that NaN fails
        raise DeviceError(
            f"The engine that {backend} saved differs from its graph by {difference:.1e} of the map's range.",
            "Use another backend, and report it with what `edge-ad doctor` shows.",
        )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _map_difference(expected: list[Prediction], got: list[Prediction]) -> float:
    maps, others = (np.stack([prediction.anomaly_map for prediction in part]) for part in (expected, got))
    return float(np.abs(maps - others).max() / max(float(np.abs(maps).max()), 1e-6))


def _remedy(status: BackendStatus) -> str:
    if status.install_command:
        return f"Install it: {status.install_command}"
    return "Use --backend auto, which takes one that works here."
