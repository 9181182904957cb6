"""Loads a plan, and refuses one that is not its bundle's deploy graph or not for this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.errors import BundleError, DeviceError
from edge_ad.runtime.deploy_graph import INPUT_NAME, OUTPUT_NAMES, check_deploy_graph
from edge_ad.runtime.engine_source import EngineSource, backend_errors
from edge_ad.runtime.tensorrt.api import create_log

__all__ = ["PLAN_FILE", "Plan", "load_plan"]

PLAN_FILE = "model.plan"
_PROFILE = 0
_DLA_CORES = {"0", "1"}


@dataclass
class Plan:
    """A loaded plan.

    Attributes:
        log: TensorRT's log.
        runtime: What loaded it; must outlive it.
        engine: ``ICudaEngine``.
        min_batch: Smallest batch it takes.
        max_batch: Largest batch it takes.
    """

    log: Any
    runtime: Any
    engine: Any
    min_batch: int
    max_batch: int

    def free_engine(self) -> None:
        """Free the engine; its execution contexts must be gone."""
        self.engine = None

    def free_runtime(self) -> None:
        """Free the runtime; the engine must be gone."""
        self.runtime = None


def load_plan(trt: Any, source: EngineSource, version: str) -> Plan:
    """Load ``model.plan`` of an engine directory.

    Args:
        trt: The TensorRT module.
        source: The engine directory.
        version: Version of TensorRT, for the message.

    Raises:
        BundleError: TensorRT refuses the plan, or it is not a deploy graph of the bundle's input size.
    """
    path = _plan_path(source)
    content = source.read_built(PLAN_FILE)
    log = create_log(trt)
    trt.init_libnvinfer_plugins(log, "")  # older parsers make plugins of some ONNX operators
    runtime = _runtime(trt, log, source)
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise _refused(source, path, version, log.take_error())
    _check_tensors(trt, engine, source, path)
    smallest, _, largest = _profile(engine)
    return Plan(log, runtime, engine, smallest, largest)


def _runtime(trt: Any, log: Any, source: EngineSource) -> Any:
    options = source.options
    core = options.get("dla_core", "none")
    if core != "none" and core not in _DLA_CORES:
        raise BundleError(f"The plan was built for the DLA core {core!r}, which does not exist.", _rebuild(source))
    with backend_errors("TensorRT", "start"):
        runtime = trt.Runtime(log)
    if options.get("version_compatible") == "true":
        runtime.engine_host_code_allowed = True  # such a plan carries its own runtime
    if core != "none":
        runtime.DLA_core = int(core)  # otherwise it is loaded for the first one
    return runtime


def _plan_path(source: EngineSource) -> Path:
    if source.directory is None:
        raise BundleError("TensorRT needs a plan, and none was built.", _rebuild(source))
    path = source.directory / PLAN_FILE
    if not path.is_file():
        raise BundleError(f"{source.directory} holds no {PLAN_FILE}.", _rebuild(source))
    return path


def _refused(source: EngineSource, path: Path, version: str, reason: str) -> BundleError:
    built = f", built by TensorRT {source.directory_version}, " if source.directory_version else " "
    said = f": {reason}" if reason else ""
    return BundleError(f"The plan {path}{built}cannot be loaded by TensorRT {version} here{said}.", _rebuild(source))


def _rebuild(source: EngineSource) -> str:
    command = source.rebuild_command or f"edge-ad build-engine {source.onnx.parent} --precision {source.precision}"
    return f"Rebuild it: {command}"


def _check_tensors(trt: Any, engine: Any, source: EngineSource, path: Path) -> None:
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names}
    outputs = [name for name in names if name not in inputs]
    check_deploy_graph(path, {name: shapes[name] for name in inputs}, outputs, source.input_size_hw)
    expected = {INPUT_NAME: trt.DataType.UINT8, **dict.fromkeys(OUTPUT_NAMES, trt.DataType.FLOAT)}
    for name, dtype in expected.items():
        found = engine.get_tensor_dtype(name)
        if found != dtype:
            raise BundleError(f"{path} has {name} as {found}, and a deploy graph has {dtype}.", _rebuild(source))
    if shapes["anomaly_map"][1:] != source.input_size_hw or len(shapes["score"]) != 1:
        raise BundleError(
            f"{path} gives a score of shape {shapes['score']} and maps of shape {shapes['anomaly_map']}.",
            _rebuild(source),
        )


def _profile(engine: Any) -> tuple[int, int, int]:
    """Smallest, best and largest batch."""
    if engine.get_tensor_shape(INPUT_NAME)[0] > 0:  # a batch that was fixed when it was built
        return (int(engine.get_tensor_shape(INPUT_NAME)[0]),) * 3
    smallest, best, largest = (int(shape[0]) for shape in engine.get_tensor_profile_shape(INPUT_NAME, _PROFILE))
    if not 1 <= smallest <= best <= largest:
        raise DeviceError(f"TensorRT reports the batch sizes {smallest} to {largest} for a plan.")
    return smallest, best, largest
