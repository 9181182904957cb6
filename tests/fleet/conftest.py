"""Registries to publish to and a bundle to publish."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.docker_registry import DockerRegistry, find_docker_registry
from edge_ad.bundle import Bundle
from tests.fleet.registry_double import RegistryDouble, running_registry
from tests.runtime.tiny_bundle import tiny_bundle


@pytest.fixture(autouse=True)
def _no_login_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def registry() -> Iterator[RegistryDouble]:
    with running_registry() as server:
        yield server


@pytest.fixture(params=["double", "docker-registry"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Host and port of an empty registry: the double, and the real one where it is installed."""
    if request.param == "double":
        with running_registry() as server:
            yield server.host
        return
    if find_docker_registry() is None:
        pytest.skip("docker-registry is not installed (Debian: apt install docker-registry)")
    with DockerRegistry(tmp_path) as registry:
        yield registry.host
