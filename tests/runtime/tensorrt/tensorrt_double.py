"""A strict double of TensorRT's runtime: a plan is a JSON document, and computes a known function of the frames."""

from __future__ import annotations

import enum
import json
from typing import Any

import numpy as np

from tests.runtime.tensorrt.cuda_double import COMPUTE_MS, FakeCuda
from tests.runtime.tensorrt.cuda_memory_double import Memory, Misuse

VERSION = "10.3.0"
_CHANNEL_WEIGHTS = np.array([1, 2, 4], np.float32)


def expected(images: Any) -> tuple[Any, Any]:
    """Scores and maps that a plan of this double gives for uint8 (N, H, W, 3)."""
    maps = images.astype(np.float32) @ _CHANNEL_WEIGHTS
    return maps.max(axis=(1, 2)), maps


def plan_bytes(
    size_hw: tuple[int, int], *, batches: tuple[int, int, int] = (1, 1, 4), fixed: bool = False, **changes: Any
) -> bytes:
    """A plan for a batch between the first and the last of ``batches``, or of just the first one."""
    batch = batches[0] if fixed else -1
    tensors = {
        "image": {"shape": [batch, *size_hw, 3], "dtype": "UINT8", "mode": "INPUT"},
        "score": {"shape": [batch], "dtype": "FLOAT", "mode": "OUTPUT"},
        "anomaly_map": {"shape": [batch, *size_hw], "dtype": "FLOAT", "mode": "OUTPUT"},
    }
    plan = {"version": VERSION, "batches": batches, "tensors": tensors, **changes}
    return json.dumps(plan).encode()


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    UINT8 = 6


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


class Runtime:
    """``IRuntime``."""

    def __init__(self, trt: FakeTensorRt, log: Any) -> None:
        trt.cuda.enter("Runtime")
        assert isinstance(log, trt.ILogger)
        self.trt, self.log = trt, log
        trt.runtime_settings = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("DLA_core", "engine_host_code_allowed"):
            self.trt.runtime_settings[name] = value
        else:
            super().__setattr__(name, value)

    def deserialize_cuda_engine(self, data: bytes) -> ICudaEngine | None:
        self.trt.cuda.enter("deserialize_cuda_engine")
        try:
            plan = json.loads(data)
        except ValueError:
            self.log.log(self.trt.ILogger.Severity.ERROR, "Serialization assertion magicTagRead == kMAGIC_TAG failed.")
            return None
        if plan["version"] != self.trt.__version__:
            self.log.log(
                self.trt.ILogger.Severity.ERROR,
                f"The engine plan file is not compatible with this version of TensorRT, expecting library version "
                f"{self.trt.__version__} got {plan['version']}, please rebuild.",
            )
            return None
        return ICudaEngine(self, plan)


class ICudaEngine:
    """``ICudaEngine``; keeps its runtime, as the genuine one does."""

    def __init__(self, runtime: Runtime, plan: dict[str, Any]) -> None:
        self.runtime, self.plan, self.trt = runtime, plan, runtime.trt
        self.num_io_tensors = len(plan["tensors"])
        self.trt.cuda.log.append("engine made")

    def get_tensor_name(self, index: int) -> str:
        return list(self.plan["tensors"])[index]

    def get_tensor_mode(self, name: str) -> Any:
        return getattr(self.trt.TensorIOMode, self.plan["tensors"][name]["mode"])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.plan["tensors"][name]["shape"])

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self.trt.DataType, self.plan["tensors"][name]["dtype"])

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert (name, profile) == ("image", 0)
        return [(batch, *self.get_tensor_shape(name)[1:]) for batch in self.plan["batches"]]

    def create_execution_context(self) -> IExecutionContext | None:
        self.trt.cuda.enter("create_execution_context")
        return None if self.trt.gives_no_context else IExecutionContext(self)

    def __del__(self) -> None:
        self.trt.cuda.log.append("engine freed")
        if not self.trt.cuda.has_context():
            self.trt.cuda.misuses.append("an engine is destroyed on a thread without the context")


class IExecutionContext:
    """``IExecutionContext``; keeps its engine, as the genuine one does."""

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine, self.trt, self.cuda = engine, engine.trt, engine.trt.cuda
        self.addresses: dict[str, int] = {}
        self.batch = 0 if engine.get_tensor_shape("image")[0] < 0 else engine.get_tensor_shape("image")[0]
        self.has_run = False
        self.used = 0
        self.cuda.bound.add(self)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._changing()
        self.cuda.allocation_at(address).check_alive()
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._changing()
        assert name == "image"
        smallest, _, largest = self.engine.plan["batches"]
        fixed = self.engine.get_tensor_shape("image")[0]
        is_right = shape[0] == fixed if fixed > 0 else smallest <= shape[0] <= largest
        if not is_right or tuple(shape[1:]) != self.engine.get_tensor_shape("image")[1:]:
            self.engine.runtime.log.log(
                self.trt.ILogger.Severity.ERROR, f"Shape {shape} is out of the profile's range."
            )
            return False
        if shape[0] != self.batch:
            self.has_run = False
        self.batch = shape[0]
        return True

    def execute_async_v3(self, handle: int) -> bool:
        self.cuda.enter("execute_async_v3")
        if self.trt.refuses_to_run:
            self.engine.runtime.log.log(self.trt.ILogger.Severity.ERROR, "Cuda Runtime (invalid argument)")
            return False
        missing = set(self.engine.plan["tensors"]) - set(self.addresses)
        if missing or not self.batch:
            raise Misuse(f"run without an address for {missing} or without a shape")
        stream = self.cuda.streams[handle]
        launch = self._launcher(stream)
        if stream.captured is not None:
            if not self.has_run:
                raise Misuse("captured before a first plain run with this shape")
            if self.trt.refuses_capture:
                return False
            stream.captured.append(launch)
        else:
            launch()
            self.has_run = True
        return True

    def bound_memory(self) -> list[Memory]:
        return [self.cuda.allocation_at(address) for address in self.addresses.values()]

    def _launcher(self, stream: Any) -> Any:
        batch = self.batch
        memory = {name: self.cuda.allocation_at(address) for name, address in self.addresses.items()}
        shape = (batch, *self.engine.get_tensor_shape("image")[1:])
        sizes = {"image": int(np.prod(shape)), "score": batch * 4, "anomaly_map": int(np.prod(shape[:3])) * 4}

        def compute() -> None:
            images = memory["image"].read(sizes["image"]).reshape(shape)
            scores, maps = expected(images)
            memory["score"].write(scores)
            memory["anomaly_map"].write(maps)

        def launch() -> None:
            operation = self.cuda.queue(stream, "compute", compute, COMPUTE_MS)
            self.used |= operation.bit
            for name in memory:
                memory[name].access(operation, sizes[name], writes=name != "image")

        return launch

    def _changing(self) -> None:
        self.cuda.enter("change an execution context")
        if self.used & ~self.cuda.observed:
            raise Misuse("an execution context is changed while it runs")
        if any(not graph.is_destroyed for graph in self.cuda.graphs):
            raise Misuse("an execution context is changed under its captured graph")

    def __del__(self) -> None:
        self.cuda.log.append("context freed")
        if not self.cuda.is_lost and self.used & ~self.cuda.observed:
            self.cuda.misuses.append("an execution context is destroyed while it runs")
        if any(not graph.is_destroyed for graph in self.cuda.graphs):
            self.cuda.misuses.append("an execution context is destroyed before its captured graph")
        if not self.cuda.has_context():
            self.cuda.misuses.append("an execution context is destroyed on a thread without the CUDA context")


class FakeTensorRt:
    """What ``import tensorrt`` gives.

    Args:
        cuda: The GPU.
        genuine: Genuine bindings, whose enums and logger are used then.
    """

    Builder = object

    def __init__(self, cuda: FakeCuda, genuine: Any = None) -> None:
        self.cuda = cuda
        self.__version__ = VERSION
        self.DataType: Any = genuine.DataType if genuine else DataType
        self.TensorIOMode: Any = genuine.TensorIOMode if genuine else TensorIOMode
        self.ILogger: Any = genuine.ILogger if genuine else ILogger
        self.runtime_settings: dict[str, Any] = {}
        self.gives_no_context = self.refuses_to_run = self.refuses_capture = False

    def Runtime(self, log: Any) -> Runtime:  # noqa: N802
        return Runtime(self, log)

    def init_libnvinfer_plugins(self, log: Any, namespace: str) -> bool:
        return True
