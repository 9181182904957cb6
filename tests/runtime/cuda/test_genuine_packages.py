"""The genuine cuda-bindings, in the major version of each CUDA, run an engine on a driver library in host memory."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tensorrt_contract.bindings import find_bindings

Run = Callable[[str], Any]

_STUB = Path(__file__).parent / "libcuda_stub.c"
_ROOT = Path(__file__).parents[3]
_ENGINE = """
import ctypes, gc, json
import numpy as np
from edge_ad.gpu_check.stand_in import StandInEngine, expected_results, stand_in_frames
from edge_ad.runtime.cuda.device import cuda_driver, device_name, device_target
frames = stand_in_frames(5, (24, 32))
"""
_ALIVE = """
gc.collect()
stub = ctypes.CDLL("libcuda.so.1")
alive = [stub.stub_alive(kind) for kind in range(6)]
"""


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a ``libcuda.so.1``."""
    if not sys.platform.startswith("linux") or shutil.which("gcc") is None:
        pytest.skip("no gcc on Linux to make a driver library with")
    folder = tmp_path_factory.mktemp("libcuda")
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(_STUB), "-o", str(folder / "libcuda.so.1")]
    subprocess.run([*command, "-ldl"], check=True)
    return folder


@pytest.fixture(params=["12.9.10", "13.5.0"])
def run(request: pytest.FixtureRequest, stub: Path) -> Run:
    """Run code with the genuine package of a version, and read the JSON it prints last."""
    folders = [find_bindings(str(request.param)), find_bindings("1.9.0")]
    missing = [folder for folder in folders if not (folder / "cuda").is_dir()]
    if missing:
        pytest.skip(f"cuda-bindings is not in {missing[0]}; make test installs it")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(stub),
        "PYTHONPATH": os.pathsep.join(map(str, [*folders, _ROOT])),
        "EDGE_AD_CUDA": "cuda-bindings",
    }

    def call(code: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return call


def test_an_engine_runs_on_it_and_leaves_nothing(run: Run) -> None:
    code = f"""{_ENGINE}
scores, maps = expected_results(frames[:4])
with StandInEngine(cuda_driver(), (24, 32), repeats=2) as engine:
    for _ in range(3):
        predictions = engine.infer(frames[:4])
        assert [one.score for one in predictions] == scores.tolist()
        np.testing.assert_array_equal(np.stack([one.anomaly_map for one in predictions]), maps)
    timings = engine.timings()
    singly = [float(expected_results(frame[None])[0][0]) for frame in frames]
    assert [one.score for one in engine.infer_many(frames[:, None])] == singly
{_ALIVE}
print(json.dumps([cuda_driver().name, device_name(), device_target(), timings.to_dict(), alive]))
"""
    name, device, target, timings, alive = run(code)
    assert (name, device, target) == ("cuda-bindings", "Stub GPU", "sm87")
    assert timings == {"h2d_ms": 1, "compute_ms": 6, "d2h_ms": 2, "runs": 3, "uses_cuda_graph": True}  # 1 ms a copy
    assert alive == [0] * 6


def test_too_little_memory_is_one_line_and_leaves_nothing(run: Run) -> None:
    code = f"""{_ENGINE}
ctypes.CDLL("libcuda.so.1").stub_limit(1000)
from edge_ad.errors import DeviceError
try:
    with StandInEngine(cuda_driver(), (24, 32)):
        pass
except DeviceError as error:
    message = error.message
{_ALIVE}
print(json.dumps([message, alive]))
"""
    message, alive = run(code)
    expected = "The GPU has too little free memory (cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY, out of memory)."
    assert (message, alive) == (expected, [0] * 6)


def test_a_call_without_the_context_is_an_error_and_not_a_wrong_number(run: Run) -> None:
    code = f"""{_ENGINE}
from edge_ad.runtime.cuda.calls import CudaCallError
try:
    cuda_driver().allocate(16)
except CudaCallError as error:
    print(json.dumps(str(error)))
"""
    assert run(code) == "cuMemAlloc failed: CUDA_ERROR_INVALID_CONTEXT, invalid device context"
