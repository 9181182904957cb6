"""OpenVINO as a backend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from edge_ad.errors import MissingDependencyError
from edge_ad.manifest import BF16_OF, Precision
from edge_ad.runtime.backend import Backend, BackendStatus
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.openvino.api import openvino_instruction_set, openvino_version
from edge_ad.runtime.openvino.engine import OpenVinoEngine, save_openvino
from edge_ad.runtime.target import processor

__all__ = ["OpenVinoBackend"]


class OpenVinoBackend(Backend):
    """OpenVINO's CPU plugin: the fastest on x86 processors, and the one with bfloat16."""

    name = "openvino"
    precisions = ("int8-bf16", "int8", "bf16", "fp16", "fp32")
    fastest_first = ("int8-bf16", "int8", "bf16", "fp32")
    worth_building = ("int8", "int8-bf16", "fp32")  # bfloat16 is another way of running an existing graph
    fp16_arithmetic = "float32: weights are rounded to FP16, tensors between nodes are not"

    def probe(self) -> BackendStatus:
        """Whether OpenVINO is installed and loads."""
        try:
            return BackendStatus(self.name, True, openvino_version(), "runs on this CPU", "", can_build=True)
        except MissingDependencyError as error:
            return BackendStatus(self.name, False, "", error.message, f"pip install {self.name}")

    def target(self) -> str:
        """The architecture, and the instructions that OpenVINO compiles for."""
        instructions = openvino_instruction_set()
        if not instructions:
            return processor().target
        words = re.sub(r"[^a-z0-9]+", "-", instructions.lower().replace("intel", "").replace("(r)", "")).strip("-")
        return f"{processor().architecture}-{words}"

    def open(self, source: EngineSource, *, threads: int = 0, fallback: EngineSource | None = None) -> Engine:
        """An engine on the CPU plugin."""
        return OpenVinoEngine(source, threads=threads, spare=fallback)

    def build(self, source: EngineSource, folder: Path) -> Mapping[str, str]:
        """Save the graph in OpenVINO's own format, and compiled for one frame."""
        return save_openvino(source, folder)

    def processor_problem(self, precision: Precision) -> str:
        """Why bfloat16 cannot run here."""
        if precision not in BF16_OF.values():
            return ""
        if not processor().has_bf16:
            return "this processor has no bfloat16 instructions"
        instructions = openvino_instruction_set()
        if instructions.startswith("Intel") and "bfloat16" not in instructions:
            return f"OpenVINO compiles for {instructions} here"
        return ""
