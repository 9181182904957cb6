"""The double of cuda-bindings against the genuine package, which imports without a driver."""

import inspect
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.runtime.tensorrt.graph_double import CUresult, FakeGraphApi
from tests.tensorrt_contract.bindings import find_bindings

_FOLDERS = [find_bindings(version) for version in ("13.5.0", "1.9.0")]  # cuda-bindings, and what it looks up with
_CALLS = [name for name in vars(FakeGraphApi) if name.startswith("cu")]
_CODE = """
import inspect, json, re, sys
from cuda.bindings import driver
calls = {}
for name in sys.argv[1:]:
    arguments = re.match(name + r"\\((.*?)\\)", inspect.getdoc(getattr(driver, name))).group(1)
    calls[name] = len(arguments.split(","))
print(json.dumps({
    "calls": calls,
    "stream": int(driver.CUstream(0x100)),
    "mode": int(driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
    "results": {result.name: int(result) for result in driver.CUresult},
}))
"""


@pytest.fixture(scope="module")
def genuine() -> Any:
    missing = [folder for folder in _FOLDERS if not (folder / "cuda").is_dir()]
    if missing:
        pytest.skip(f"cuda-bindings is not in {missing[0]}; make test installs it")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, _FOLDERS))}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *_CALLS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_call_is_there_with_as_many_arguments(genuine: Any) -> None:
    doubles = {name: len(inspect.signature(getattr(FakeGraphApi, name)).parameters) - 1 for name in _CALLS}
    assert len(doubles) == 6
    assert genuine["calls"] == doubles


def test_a_stream_is_made_from_a_raw_handle(genuine: Any) -> None:
    assert genuine["stream"] == 0x100


def test_the_mode_and_the_results_are_those_of_the_package(genuine: Any) -> None:
    assert genuine["mode"] == 1
    for result in CUresult:
        assert genuine["results"][result.name] == int(result)
