"""ONNX Runtime as a backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from edge_ad.errors import MissingDependencyError
from edge_ad.runtime.backend import Backend, BackendStatus
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.onnxruntime.engine import OnnxRuntimeEngine, onnxruntime_version, save_onnxruntime
from edge_ad.runtime.source import EngineSource
from edge_ad.runtime.target import processor

__all__ = ["OnnxRuntimeBackend"]


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
        """The optimised graph in ONNX Runtime's own format."""
        return save_onnxruntime(source, folder)
