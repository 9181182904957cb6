"""The bindings of each version, and a graph to build."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.tiny_bundle import deploy_graph
from tests.tensorrt_contract.bindings import VERSIONS, missing_reason, run_with_bindings

Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for the libraries that the bindings are linked to."""
    return tmp_path_factory.mktemp("tensorrt")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """One TensorRT after the other."""
    name = str(request.param)
    if reason := missing_reason(name):
        pytest.skip(reason)
    return name


@pytest.fixture
def run(version: str, stubs: Path) -> Run:
    """Run code against the bindings of the version."""
    return lambda code: run_with_bindings(version, code, stubs / version)


@pytest.fixture
def run_json(run: Run) -> Callable[[str], Any]:
    """Run code that must succeed, and read the JSON it prints."""

    def call(code: str) -> Any:
        done = run(code)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return call


@pytest.fixture(scope="session")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest deploy graph."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    path.write_bytes(deploy_graph())
    return path
