"""The double of TensorRT's runtime behind the genuine classes of a version; runs in a process that has its bindings."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_ad.manifest import Threshold
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.tensorrt.engine import TensorRtEngine
from tests.runtime.tensorrt.cuda_bindings_double import FakeCudaBindings
from tests.runtime.tensorrt.cuda_double import FakeCuda
from tests.runtime.tensorrt.tensorrt_double import FakeTensorRt, expected, plan_bytes
from tests.tensorrt_contract.spec_double import ModuleDouble, SpecDouble, assert_nothing_missing

SIZE_HW = (24, 32)


def install() -> FakeCuda:
    """Put a GPU and the doubles where ``import`` finds them."""
    genuine = sys.modules["tensorrt"]
    cuda = FakeCuda()
    runtime = partial(_runtime, genuine, FakeTensorRt(cuda, genuine))
    sys.modules["tensorrt"] = ModuleDouble(genuine, {"Runtime": runtime})
    for name in ("pycuda", "cuda", "cuda.bindings"):
        sys.modules[name] = ModuleType(name)
    doubles: dict[str, Any] = {"pycuda.driver": cuda, "cuda.bindings.driver": FakeCudaBindings(cuda)}
    sys.modules.update(doubles)
    return cuda


def main(folder: Path) -> None:
    """Run the engine through all it does, and print how often each method of TensorRT was called."""
    import numpy as np

    cuda = install()
    (folder / "model.plan").write_bytes(plan_bytes(SIZE_HW))
    images = np.random.default_rng(0).integers(0, 256, (10, *SIZE_HW, 3), dtype=np.uint8)
    scores, _ = expected(images)
    with TensorRtEngine("tensorrt", source(folder)) as engine:
        for _ in range(3):
            assert [one.score for one in engine.infer(images)] == scores.tolist()
            assert [one.score for one in engine.infer_many(images[:, None])] == scores.tolist()
        version = engine.describe().version
    cuda.verify()
    assert_nothing_missing()
    print(json.dumps({"version": version, "runs": sum(done.name == "compute" for done in cuda.history)}))


def source(folder: Path) -> EngineSource:
    """An engine directory."""
    threshold = Threshold(
        value=0.5, rule="test", false_alarm_rate=0.01, false_alarm_bound=0.1, confidence=0.95, good_images=40
    )
    options = {"version_compatible": "true", "dla_core": "0"}
    return EngineSource(folder / "model.onnx", "fp32", SIZE_HW, threshold, folder, "", "test", "", options)


def _runtime(genuine: Any, fake: FakeTensorRt, log: Any) -> SpecDouble:
    inner = fake.Runtime(log)

    def deserialize(data: bytes) -> SpecDouble | None:
        engine = inner.deserialize_cuda_engine(data)
        return None if engine is None else _engine(genuine, engine)

    return SpecDouble(
        genuine.Runtime,
        genuine.__version__,
        {"deserialize_cuda_engine": deserialize, "engine_host_code_allowed": False, "DLA_core": -1},
    )


def _engine(genuine: Any, inner: Any) -> SpecDouble:
    methods = ("get_tensor_name", "get_tensor_mode", "get_tensor_dtype")
    behaviour = {
        **{name: getattr(inner, name) for name in methods},
        "num_io_tensors": inner.num_io_tensors,
        "get_tensor_shape": lambda name: genuine.Dims(inner.get_tensor_shape(name)),
        "get_tensor_profile_shape": lambda name, profile: [
            genuine.Dims(shape) for shape in inner.get_tensor_profile_shape(name, profile)
        ],
        "create_execution_context": lambda: _context(genuine, inner.create_execution_context()),
    }
    return SpecDouble(genuine.ICudaEngine, genuine.__version__, behaviour)


def _context(genuine: Any, inner: Any) -> SpecDouble:
    methods = ("set_input_shape", "set_tensor_address", "execute_async_v3")
    behaviour = {name: getattr(inner, name) for name in methods}
    return SpecDouble(genuine.IExecutionContext, genuine.__version__, behaviour)
