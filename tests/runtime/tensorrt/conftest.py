"""A machine with a GPU, in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge_ad.bundle import Bundle, EngineKey, Reference, write_engine
from edge_ad.runtime.cuda import device
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.runtime.tensorrt.engine import TensorRtEngine
from tests.runtime.tensorrt.cuda_bindings_double import FakeCudaBindings
from tests.runtime.tensorrt.cuda_double import FakeCuda
from tests.runtime.tensorrt.graph_double import CUresult
from tests.runtime.tensorrt.tensorrt_double import VERSION, FakeTensorRt, expected, plan_bytes
from tests.runtime.tiny_bundle import SIZE_HW, tiny_bundle


@dataclass
class Gpu:
    """The doubles that ``import`` finds."""

    cuda: FakeCuda
    trt: FakeTensorRt
    graphs: FakeCudaBindings
    install: Callable[[str, Any], None]
    package: str

    def without_graphs(self) -> None:
        if self.package == "pycuda":
            self.install("cuda.bindings.driver", None)
        else:
            self.graphs.begin_result = CUresult.CUDA_ERROR_NOT_SUPPORTED

    def engine(self, folder: Path, *, options: dict[str, str] | None = None, **plan: Any) -> TensorRtEngine:
        """An engine on a plan of the tiny bundle's input size."""
        bundle = planned_bundle(folder / "bundle", **plan)
        (directory,) = bundle.root.glob("engines/*")
        source = EngineSource(
            onnx=bundle.graph_path("fp32"),
            precision="fp32",
            input_size_hw=SIZE_HW,
            threshold=bundle.graph("fp32").threshold,
            directory=directory,
            directory_version=VERSION,
            words="test",
            rebuild_command="edge-ad build-engine BUNDLE",
            options=options or {},
        )
        return TensorRtEngine("tensorrt", source)


@pytest.fixture(params=device.CUDA_PACKAGES)
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """A GPU that is used through one package for CUDA after the other."""
    package = str(request.param)
    cuda = FakeCuda()
    trt, graphs = FakeTensorRt(cuda), FakeCudaBindings(cuda)

    def install(name: str, module: Any) -> None:
        parts = name.split(".")
        for end in range(1, len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(parts[end - 1]))
        monkeypatch.setitem(sys.modules, name, module)

    monkeypatch.setattr(device, "has_driver_library", lambda: True)
    install("pycuda.driver", cuda if package == "pycuda" else None)
    install("tensorrt", trt)
    install("cuda.bindings.driver", graphs)
    yield Gpu(cuda, trt, graphs, install, package)
    cuda.hang = None


def planned_bundle(
    root: Path, *, target: str = "sm87", version: str = VERSION, data: bytes = b"", **plan: Any
) -> Bundle:
    """The tiny bundle with an engine directory, whose plan is ``data`` or one with ``plan``'s properties."""
    images = frames(2)
    bundle = tiny_bundle(root, reference=Reference(images, *expected(images)))

    def save(folder: Path) -> dict[str, str]:
        (folder / "model.plan").write_bytes(data or plan_bytes(SIZE_HW, **plan))
        return {}

    write_engine(bundle, EngineKey("tensorrt", "fp32", target, version), save)
    return bundle


def frames(count: int, *, seed: int = 0) -> Any:
    """uint8 (N, 24, 32, 3), no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)
