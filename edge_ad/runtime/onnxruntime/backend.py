"""ONNX Runtime as a backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import BundleError, MissingDependencyError, require
from edge_ad.runtime.backend import Backend, BackendStatus
from edge_ad.runtime.engine import (
    INPUT_NAME,
    OUTPUT_NAMES,
    Engine,
    EngineDescription,
    EngineSource,
    backend_errors,
    check_deploy_graph,
    saving,
)
from edge_ad.runtime.target import processor

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeEngine", "onnxruntime_version", "save_onnxruntime"]

_NAME = "ONNX Runtime"
_PROVIDERS = ["CPUExecutionProvider"]
_ENGINE_FILE = "model.ort"
_LOG_ERRORS_ONLY = 3
_PLANNED_PIXELS = 1 << 20  # of an input; the plan of a larger one takes up to twice the memory, and saves no time
_CONTROL_FLOW = (b"If", b"Loop", b"Scan")


def onnxruntime_version() -> str:
    """Version of the installed ONNX Runtime, such as ``"1.20.1"``.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return str(require("onnxruntime", extra="").__version__)


def save_onnxruntime(source: EngineSource, folder: Path) -> Mapping[str, str]:
    """Optimise a graph for this processor and save it in ONNX Runtime's own format.

    Args:
        source: The graph.
        folder: Where to write ``model.ort``.

    Returns:
        The options of the build.

    Raises:
        DeviceError: ONNX Runtime refuses the graph.
        StorageError: No space or no permission.
    """
    graph = source.read_graph()
    _session(
        graph, source.onnx, _options(threads=1), source.input_size_hw
    )  # so that a failure below can only be one of writing
    options = _options(threads=1)
    options.optimized_model_filepath = str(folder / _ENGINE_FILE)
    options.add_session_config_entry("session.save_model_format", "ORT")
    with saving(folder):
        runtime = require("onnxruntime", extra="")
        runtime.InferenceSession(graph, options, providers=_PROVIDERS)
    return {"format": "ort", "graph_optimisation": "all"}


class OnnxRuntimeEngine(Engine):
    """An engine on ONNX Runtime's CPU provider.

    Args:
        source: The graph to run.
        threads: Threads within one inference; 0 lets ONNX Runtime use every physical core.
        spare: The graph that is compiled instead where the built engine does not load; None where it must load.
    """

    def __init__(self, source: EngineSource, *, threads: int = 0, spare: EngineSource | None = None) -> None:
        description = EngineDescription.on_cpu("onnxruntime", onnxruntime_version(), source, threads)
        super().__init__(description, source.threshold, spare)
        self._source = source
        self._threads = threads
        self._session: Any = None

    def _open(self) -> None:
        options, size_hw = _options(self._threads), self._source.input_size_hw
        if self._source.directory is None:
            self._session = _session(self._source.read_graph(), self._source.onnx, options, size_hw)
            return
        level = require("onnxruntime", extra="").GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level  # it is already optimised
        content, path = self._source.read_built(_ENGINE_FILE), self._source.directory / _ENGINE_FILE
        _refuse_control_flow(content, path)
        self._session = _session(content, path, options, size_hw)

    def _close(self) -> None:
        self._session = None

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with backend_errors(_NAME, "run the engine"):
            scores, maps = self._session.run(list(OUTPUT_NAMES), {INPUT_NAME: images})
        return scores, maps


def _options(threads: int) -> Any:
    options = require("onnxruntime", extra="").SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Without VNNI, 8-bit products saturate at 16 bits unless ONNX Runtime is told to be exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _session(content: bytes, path: Path, options: Any, size_hw: tuple[int, int]) -> Any:
    runtime = require("onnxruntime", extra="")
    options.enable_mem_pattern = size_hw[0] * size_hw[1] <= _PLANNED_PIXELS
    with backend_errors(_NAME, f"load {path.name}"):
        session = runtime.InferenceSession(content, options, providers=_PROVIDERS)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    types = {item.name: item.type for item in (*inputs, *outputs)}
    shapes = {item.name: item.shape for item in inputs}
    check_deploy_graph(path, shapes, [item.name for item in outputs], size_hw, types)
    return session


def _refuse_control_flow(content: bytes, path: Path) -> None:
    """Find operators of control flow in ONNX Runtime's format: a length, the name, and a zero byte."""
    for name in _CONTROL_FLOW:
        if len(name).to_bytes(4, "little") + name + b"\0" in content:
            raise BundleError(f"{path} holds control flow ({name.decode()}).", "Delete it and build the engine again.")


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime's CPU provider: runs everywhere, and is the reference for the others."""

    name = "onnxruntime"
    tolerance: ClassVar[float] = 1e-4
    fp16_arithmetic = (
        "float32 where ONNX Runtime has no FP16 kernel for this processor: weights are rounded to FP16, "
        "tensors between such nodes are not"
    )

    def probe(self) -> BackendStatus:
        """Whether ONNX Runtime is installed and loads."""
        try:
            return BackendStatus(self.name, True, onnxruntime_version(), "runs on this CPU", "", can_build=True)
        except MissingDependencyError as error:
            return BackendStatus(self.name, False, "", error.message, f"pip install {self.name}")

    def target(self) -> str:
        """The processor."""
        return processor().target

    def open(self, source: EngineSource, *, threads: int = 0, fallback: EngineSource | None = None) -> Engine:
        """An engine on the CPU."""
        return OnnxRuntimeEngine(source, threads=threads, spare=fallback)

    def build(self, source: EngineSource, folder: Path) -> Mapping[str, str]:
        """Save the optimised graph in ONNX Runtime's own format."""
        return save_onnxruntime(source, folder)
