"""ONNX Runtime on an NVIDIA GPU: by its own CUDA provider, or by that of TensorRT for RTX, which brings its runtime."""

from __future__ import annotations

import importlib
import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DeviceError, MissingDependencyError, UsageError
from edge_ad.runtime.backend import Backend, BackendStatus
from edge_ad.runtime.cuda.device import has_driver_library, has_gpu
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.onnxruntime.api import onnxruntime_api
from edge_ad.runtime.onnxruntime.sessions import (
    Providers,
    onnxruntime_version,
    open_session,
    run_session,
    session_options,
)

__all__ = ["OnnxRuntimeCudaBackend", "OnnxRuntimeGpuBackend", "OnnxRuntimeGpuEngine", "OnnxRuntimeRtxBackend"]

_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
_CPU = "CPUExecutionProvider"  # for what the GPU's provider leaves, such as sizes of tensors


class OnnxRuntimeGpuBackend(Backend):
    """ONNX Runtime on an NVIDIA GPU. The graph is compiled when it is opened, and nothing is built.

    Attributes:
        provider: Name of the provider.
        package: Distribution that brings it.
    """

    runs_on_gpu = True
    provider: ClassVar[str]
    package: ClassVar[str]

    @abstractmethod
    def missing(self) -> str:
        """What of the software is missing, in words; empty where nothing is."""

    @abstractmethod
    def prepare(self, options: Any) -> Providers:
        """Add what the provider needs to a session's options.

        Returns:
            The session's providers; none where the options name devices.

        Raises:
            DeviceError: There is no GPU that it supports.
        """

    def probe(self) -> BackendStatus:
        """Whether the provider is installed and there is an NVIDIA driver."""
        try:
            version = onnxruntime_version()
        except MissingDependencyError as error:
            return BackendStatus(self.name, False, "", error.message, "pip install onnxruntime")
        if why := self.missing():
            return BackendStatus(self.name, False, version, why, f"pip install {self.package}" if has_gpu() else "")
        if not has_driver_library():
            return BackendStatus(self.name, False, version, "no NVIDIA driver", "")
        return BackendStatus(self.name, True, version, f"has {self.provider} and an NVIDIA driver", "")

    def target(self) -> str:
        """Any NVIDIA GPU: nothing is built for one."""
        return "nvidia-gpu"

    def open(self, source: EngineSource, *, threads: int = 0, fallback: EngineSource | None = None) -> Engine:
        """An engine on the GPU; the threads are those of what runs on the CPU."""
        return OnnxRuntimeGpuEngine(self, source, threads=threads)

    def build(self, source: EngineSource, folder: Path) -> Mapping[str, str]:
        """Nothing can be built.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"{self.name} compiles a graph when it opens it: there is nothing to build.", "Leave build-engine out."
        )


class OnnxRuntimeGpuEngine(Engine):
    """An engine on a provider of ONNX Runtime for NVIDIA GPUs.

    Args:
        backend: Whose provider it is.
        source: The graph to run.
        threads: CPU threads for what the provider leaves to the CPU.
    """

    def __init__(self, backend: OnnxRuntimeGpuBackend, source: EngineSource, *, threads: int = 0) -> None:
        description = EngineDescription(
            backend=backend.name,
            precision=source.precision,
            device="GPU: NVIDIA",
            version=onnxruntime_version(),
            input_size_hw=source.input_size_hw,
            threads=threads,
            source=source.words,
        )
        super().__init__(description, source.threshold)
        self._backend = backend
        self._source = source
        self._session: Any = None

    def _open(self) -> None:
        options, source = session_options(self._description.threads), self._source
        providers = self._backend.prepare(options)
        session = open_session(source.read_graph(), source.onnx, options, source.input_size_hw, providers)
        used = list(session.get_providers())
        if self._backend.provider not in used:  # ONNX Runtime goes on with the CPU, and only logs why
            raise DeviceError(
                f"ONNX Runtime does not use {self._backend.provider} here, but {', '.join(used)}.",
                "Its libraries do not load: see the requirements of the provider, for CUDA and cuDNN.",
            )
        self._session = session

    def _close(self) -> None:
        self._session = None

    def _infer(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return run_session(self._session, images)


class OnnxRuntimeCudaBackend(OnnxRuntimeGpuBackend):
    """ONNX Runtime's own CUDA provider, of the package onnxruntime-gpu."""

    name = "onnxruntime-cuda"
    triton_platform = "onnxruntime_onnx"
    fastest_first = ("fp16", "fp32")  # it computes Q/DQ in float
    worth_building = ()
    provider = "CUDAExecutionProvider"
    package = "onnxruntime-gpu"

    def missing(self) -> str:
        """Whether the installed ONNX Runtime was built without CUDA."""
        known = onnxruntime_api().get_available_providers()
        return "" if self.provider in known else "the installed onnxruntime has no CUDA provider"

    def prepare(self, options: Any) -> Providers:
        """FP32 without TensorFloat-32, which has ten bits and would not give the trained numbers."""
        return [(self.provider, {"device_id": "0", "use_tf32": "0"}), _CPU]


class OnnxRuntimeRtxBackend(OnnxRuntimeGpuBackend):
    """The provider of TensorRT for RTX, a library that ONNX Runtime 1.24 or newer loads."""

    name = "onnxruntime-rtx"
    fastest_first = ("int8", "fp16", "fp32")
    worth_building = ()
    provider = "NvTensorRTRTXExecutionProvider"
    package = "onnxruntime-ep-nv-tensorrt-rtx"

    def missing(self) -> str:
        """Whether the package is not installed, or ONNX Runtime too old for it."""
        if not _is_installed(_PLUGIN):
            return f"{self.package} is not installed"
        if not hasattr(onnxruntime_api(), "register_execution_provider_library"):
            return "it needs onnxruntime 1.24 or newer"
        return ""

    def prepare(self, options: Any) -> Providers:
        """Load the provider once for the process, and choose the first GPU that it supports."""
        devices = self._devices()
        if not devices:
            self._register()
            devices = self._devices()
        if not devices:
            raise DeviceError(
                f"{self.provider} finds no GPU that it supports.", "It needs an RTX GPU, Ampere or later."
            )
        options.add_provider_for_devices(devices[:1], {})
        return []

    def _devices(self) -> list[Any]:
        found = onnxruntime_api().get_ep_devices()
        return [device for device in found if device.ep_name == self.provider]

    def _register(self) -> None:
        runtime, plugin = onnxruntime_api(), importlib.import_module(_PLUGIN)
        try:
            runtime.register_execution_provider_library(self.provider, plugin.get_library_path())
        except Exception as error:  # ONNX Runtime has exceptions of its own, and the package those of files
            reason = " ".join(str(error).split())
            raise DeviceError(
                f"ONNX Runtime cannot load {self.provider}: {reason.rstrip('.')}.",
                f"Install it again: pip install {self.package}",
            ) from error


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it was put off deliberately
        return False
