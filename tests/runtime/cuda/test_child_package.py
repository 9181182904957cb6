"""An engine is verified in its own process through the package for CUDA that the caller will use."""

import os
from pathlib import Path

import pytest

from edge_ad.runtime.child import answer, call
from edge_ad.runtime.cuda.device import PACKAGE_VARIABLE

ROOT = Path(__file__).parents[3]


def main() -> None:
    """Inside that process."""
    answer(lambda request: os.environ.get(PACKAGE_VARIABLE, "not named"), engine_of=lambda request: "a bundle")


@pytest.mark.parametrize("name", ["cuda-bindings", ""])
def test_the_package_that_is_named_is_named_there_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv(PACKAGE_VARIABLE, raising=False)
    if name:
        monkeypatch.setenv(PACKAGE_VARIABLE, name)
    found = call("tests.runtime.cuda.test_child_package", {}, engine_of=Path("a bundle"), timeout_s=60)
    assert found == (name or "not named")
