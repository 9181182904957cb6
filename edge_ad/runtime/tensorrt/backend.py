"""TensorRT, and TensorRT for RTX, as backends: they run plans that the export side builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from edge_ad.errors import DeviceError, EdgeAdError, MissingDependencyError
from edge_ad.runtime.backend import Backend, BackendStatus
from edge_ad.runtime.cuda.device import device_name, device_target, has_gpu
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.tensorrt.api import TensorRtName, tensorrt_version
from edge_ad.runtime.tensorrt.engine import TensorRtEngine

__all__ = ["TensorRtBackend", "TensorRtRtxBackend"]


class TensorRtBackend(Backend):
    """TensorRT on an NVIDIA GPU. It times kernels on the GPU, so plans are built where they run.

    Attributes:
        builds_without_gpu: Whether plans can be built on a machine without the GPU.
        measuring_program: NVIDIA's own program that measures a plan.
        graph_option: What makes it launch the plan as a CUDA graph.
    """

    name: ClassVar[TensorRtName] = "tensorrt"
    triton_platform = "tensorrt_plan"
    fastest_first = ("int8", "fp16", "fp32")
    worth_building = ("int8", "fp16", "fp32")
    runs_plans_only = True
    runs_on_gpu = True
    builds_without_gpu: ClassVar[bool] = False
    measuring_program: ClassVar[str] = "trtexec"
    graph_option: ClassVar[str] = "--useCudaGraph"

    def probe(self) -> BackendStatus:
        """Whether it is installed and there is a GPU; if not, whether it can build."""
        try:
            version = tensorrt_version(self.name)
        except MissingDependencyError as error:
            return self._not_installed(error)
        try:
            gpu = f"{device_name()}, {device_target()}"
        except (MissingDependencyError, DeviceError) as error:
            if not self.builds_without_gpu:
                return BackendStatus(self.name, False, version, _clause(error.message), _command(error))
            why = f"can build plans, cannot run here: {_clause(error.message)}"
            return BackendStatus(self.name, False, version, why, _command(error), can_build=True)
        return BackendStatus(self.name, True, version, f"runs on this GPU ({gpu})", "", can_build=True)

    def target(self) -> str:
        """Compute capability of the GPU."""
        return device_target()

    def open(self, source: EngineSource, *, threads: int = 0, fallback: EngineSource | None = None) -> Engine:
        """An engine on the GPU; threads are ignored, and a plan has no fallback."""
        return TensorRtEngine(self.name, source)

    def _not_installed(self, error: MissingDependencyError) -> BackendStatus:
        if self.builds_without_gpu or has_gpu():
            return BackendStatus(self.name, False, "", _clause(error.message), _command(error))
        why = f"{_clause(error.message)}, and there is no NVIDIA GPU to run it"
        return BackendStatus(self.name, False, "", why, "")


class TensorRtRtxBackend(TensorRtBackend):
    """TensorRT for RTX, which compiles ahead of time on a CPU for GPUs of other machines."""

    name = "tensorrt-rtx"
    triton_platform = ""
    builds_without_gpu = True
    measuring_program = "tensorrt_rtx"
    graph_option = "--rtxCudaGraphStrategy=wholeGraph"
    polygraphy_environment: ClassVar[Mapping[str, str]] = {"POLYGRAPHY_USE_TENSORRT_RTX": "1"}


def _clause(message: str) -> str:
    sentence = message.rstrip(".")
    return sentence.replace("There is no ", "no ", 1) if sentence.startswith("There is no ") else sentence


def _command(error: EdgeAdError) -> str:
    """The command at the end of a hint such as ``Install it: pip install pycuda``; empty where there is none."""
    return error.hint.partition(": ")[2]
