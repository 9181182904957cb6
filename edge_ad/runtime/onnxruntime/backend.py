"""ONNX Runtime as a backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import BundleError, MissingDependencyError
from edge_ad.runtime.backend import Backend, BackendStatus
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.engine_source import EngineSource, saving
from edge_ad.runtime.onnxruntime.api import onnxruntime_api
from edge_ad.runtime.onnxruntime.sessions import onnxruntime_version, open_session, run_session, session_options
from edge_ad.runtime.target import processor

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeEngine", "save_onnxruntime"]

_PROVIDERS = ["CPUExecutionProvider"]
_ENGINE_FILE = "model.ort"
_CONTROL_FLOW = (b"If", b"Loop", b"Scan")


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
    # Once, so that a failure below can only be one of writing.
    open_session(graph, source.onnx, session_options(threads=1), source.input_size_hw, _PROVIDERS)
    options = session_options(threads=1)
    options.optimized_model_filepath = str(folder / _ENGINE_FILE)
    options.add_session_config_entry("session.save_model_format", "ORT")
    with saving(folder):
        runtime = onnxruntime_api()
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
        options, size_hw = session_options(self._threads), self._source.input_size_hw
        if self._source.directory is None:
            self._session = open_session(self._source.read_graph(), self._source.onnx, options, size_hw, _PROVIDERS)
            return
        level = onnxruntime_api().GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level  # it is already optimised
        content, path = self._source.read_built(_ENGINE_FILE), self._source.directory / _ENGINE_FILE
        _refuse_control_flow(content, path)
        self._session = open_session(content, path, options, size_hw, _PROVIDERS)

    def _close(self) -> None:
        self._session = None

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return run_session(self._session, images)


def _refuse_control_flow(content: bytes, path: Path) -> None:
    """Find operators of control flow in ONNX Runtime's format: a length, the name, and a zero byte."""
    for name in _CONTROL_FLOW:
        if len(name).to_bytes(4, "little") + name + b"\0" in content:
            raise BundleError(f"{path} holds control flow ({name.decode()}).", "Delete it and build the engine again.")


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime's CPU provider: runs everywhere, and is the reference for the others."""

    name = "onnxruntime"
    triton_platform = "onnxruntime_onnx"
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
