"""The double of cuda-bindings against the genuine package, which imports without a driver."""

import inspect
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.runtime.tensorrt.cuda_bindings_double import CUdevice_attribute, FakeCudaBindings
from tests.runtime.tensorrt.graph_double import CUresult
from tests.tensorrt_contract.bindings import find_bindings

_VERSIONS = ("12.9.10", "13.5.0")
_CALLS = [name for name in dir(FakeCudaBindings) if name.startswith("cu") and name != "cuda"]
_CODE = """
import inspect, json, re, sys
from cuda.bindings import driver
calls = {}
for name in sys.argv[1:]:
    arguments = re.match(name + r"\\((.*?)\\)", inspect.getdoc(getattr(driver, name))).group(1)
    calls[name] = len(arguments.split(",")) if arguments else 0
print(json.dumps({
    "calls": calls,
    "stream": int(driver.CUstream(0x100)),
    "mode": int(driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
    "attributes": {kind.name: int(kind) for kind in driver.CUdevice_attribute},
    "results": {result.name: int(result) for result in driver.CUresult},
}))
"""


@pytest.fixture(scope="module", params=_VERSIONS)
def genuine(request: pytest.FixtureRequest) -> Any:
    folders = [find_bindings(version) for version in (str(request.param), "1.9.0")]  # the latter finds libraries
    missing = [folder for folder in folders if not (folder / "cuda").is_dir()]
    if missing:
        pytest.skip(f"cuda-bindings is not in {missing[0]}; make test installs it")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *_CALLS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_call_is_there_with_as_many_arguments(genuine: Any) -> None:
    doubles = {name: len(inspect.signature(getattr(FakeCudaBindings, name)).parameters) - 1 for name in _CALLS}
    assert len(doubles) > 30
    assert genuine["calls"] == doubles


def test_a_stream_is_made_from_a_raw_handle(genuine: Any) -> None:
    assert genuine["stream"] == 0x100


def test_the_mode_and_the_results_are_those_of_the_package(genuine: Any) -> None:
    assert genuine["mode"] == 1
    for result in CUresult:
        assert genuine["results"][result.name] == int(result)
    for kind in CUdevice_attribute:
        assert genuine["attributes"][kind.name] == int(kind)
