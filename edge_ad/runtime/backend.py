"""The Backend contract, and the registry of backends.

A backend is one folder with one class. Third parties add theirs by the entry point ``edge_ad.backends``, whose name is
the backend's and whose value is its class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from edge_ad.errors import DeviceError, UsageError
from edge_ad.manifest import Precision
from edge_ad.registry import Registry
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.engine_source import EngineSource

__all__ = [
    "Backend",
    "BackendStatus",
    "backend_names",
    "choose_backend",
    "get_backend",
    "probe",
    "probe_backend",
]

_BACKENDS = Registry(
    "edge_ad.backends",
    {  # in the order in which ``auto`` prefers them; those of entry points come last
        "tensorrt": "edge_ad.runtime.tensorrt.backend:TensorRtBackend",
        "tensorrt-rtx": "edge_ad.runtime.tensorrt.backend:TensorRtRtxBackend",
        "openvino": "edge_ad.runtime.openvino.backend:OpenVinoBackend",
        "onnxruntime": "edge_ad.runtime.onnxruntime.backend:OnnxRuntimeBackend",
        # After the CPU's: not yet run on a GPU, so only where they are asked for.
        "onnxruntime-cuda": "edge_ad.runtime.onnxruntime.gpu:OnnxRuntimeCudaBackend",
        "onnxruntime-rtx": "edge_ad.runtime.onnxruntime.gpu:OnnxRuntimeRtxBackend",
    },
)


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used.

    Attributes:
        name: Backend name.
        available: Whether it can.
        version: Its version; empty when it is not available.
        why: Why it is or is not available, in words.
        install_command: Command that makes it available; empty when it is, or when no command can.
        can_build: Whether engine directories can be built here; some backends build where they cannot run.
    """

    name: str
    available: bool
    version: str
    why: str
    install_command: str
    can_build: bool = False


class Backend(ABC):
    """A runtime that executes deploy graphs. Instances are stateless.

    Attributes:
        name: What ``--backend`` calls it; the beginning of its engine directories' names.
        precisions: Precisions that it runs at all.
        fastest_first: Those that ``auto`` considers, fastest first, as far as is known without measuring.
        worth_building: Those that ``build-engine`` builds by default, in that order.
        tolerance: Largest difference of its FP32 outputs from the trained network's, as a share of the map's range.
        runs_plans_only: Whether it runs only plans that the export side has built.
        runs_on_gpu: Whether it needs an NVIDIA GPU to run.
        triton_platform: What runs its graphs or plans in Triton; empty where Triton has no such platform.
        fp16_arithmetic: Arithmetic of an FP16 graph, in words.
        polygraphy_environment: Environment variables with which polygraphy runs its engines.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[Precision, ...]] = ("int8", "fp16", "fp32")
    fastest_first: ClassVar[tuple[Precision, ...]] = ("int8", "fp32")
    worth_building: ClassVar[tuple[Precision, ...]] = ("int8", "fp32")
    tolerance: ClassVar[float] = 1e-3
    runs_plans_only: ClassVar[bool] = False
    triton_platform: ClassVar[str] = ""
    runs_on_gpu: ClassVar[bool] = False
    fp16_arithmetic: ClassVar[str] = ""
    polygraphy_environment: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def probe(self) -> BackendStatus:
        """Whether it can be used here. Never raises for what is missing."""

    @abstractmethod
    def target(self) -> str:
        """Processor that its engines are built for here, such as ``"x86_64-intel-avx2"`` or ``"sm87"``.

        Raises:
            EdgeAdError: There is no such processor here.
        """

    @abstractmethod
    def open(self, source: EngineSource, *, threads: int = 0, fallback: EngineSource | None = None) -> Engine:
        """An engine that is opened when it is entered.

        Args:
            source: The graph, or what was built from it.
            threads: CPU threads; 0 lets the backend decide.
            fallback: Opened where ``source`` does not load; None where it must load.
        """

    def build(self, source: EngineSource, folder: Path) -> Mapping[str, str]:
        """Build an engine from a graph, and write it into a folder.

        Returns:
            The options of the build.

        Raises:
            DeviceError: It refuses the graph.
            StorageError: No space or no permission.
            UsageError: It does not build on the device side.
        """
        raise UsageError(f"{self.name} plans are not built on the device side.", "Use: edge-ad build-engine")

    def processor_problem(self, precision: Precision) -> str:
        """Why this machine cannot run one of its precisions, in words; empty where it can."""
        return ""

    def precision_problem(self, precision: Precision) -> str:
        """Why a precision cannot run with it on this machine, in words; empty where it can."""
        if precision not in self.precisions:
            return f"{self.name} has no {precision} mode"
        return self.processor_problem(precision)


def backend_names() -> tuple[str, ...]:
    """Names of all backends, in the order in which ``auto`` prefers them."""
    return _BACKENDS.names()


def get_backend(name: str) -> Backend:
    """A backend by its name.

    Raises:
        UsageError: There is none of that name.
    """
    if (entry := _BACKENDS.get(name)) is not None:
        return _made(entry.load())
    raise UsageError(f"There is no backend {name!r}.", f"Choose one of: auto, {', '.join(backend_names())}.")


def probe() -> list[BackendStatus]:
    """Try every backend; this imports those that are installed."""
    return [probe_backend(name) for name in backend_names()]


def probe_backend(name: str) -> BackendStatus:
    """Try one backend.

    Raises:
        UsageError: There is no such backend.
    """
    return get_backend(name).probe()


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
    for status in map(probe_backend, backend_names()):
        if status.available:
            return status.name, "; ".join([f"the first that {status.why}", *passed_over])
        passed_over.append(f"{status.name}: {status.why}")
    raise DeviceError("No backend can be used here.", "Install one: pip install onnxruntime")


def _remedy(status: BackendStatus) -> str:
    if status.install_command:
        return f"Install it: {status.install_command}"
    return "Use --backend auto, which picks one that works here."


@cache
def _made(kind: type[Backend]) -> Backend:
    return kind()
