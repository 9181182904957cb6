"""Fixtures of every test."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before a test imports it itself

# A slow machine is no failure, and a failure must be the same on every machine.
settings.register_profile("edge-ad", deadline=None, derandomize=True, database=None)
settings.load_profile("edge-ad")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """What a test and its fixtures draw at random is the same in every order of the tests."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered between runs is remembered for one run of the tests: a test must not pass by an older one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AD_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGE_AD_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real images in MVTec layout, one folder per product; the test is skipped where there is none."""
    given = os.environ.get("EDGE_AD_DATA")
    root = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not any(root.glob("*/train/good")):
        pytest.skip(f"no <set>/train/good in {root}; set EDGE_AD_DATA to a folder of MVTec-layout products")
    return root
