"""The fleet benchmark runs on two devices, and its own checks hold."""

import json
from pathlib import Path

import pytest

from benchmarks import fleet
from benchmarks.docker_registry import find_docker_registry
from tests.runtime.tiny_bundle import tiny_bundle


@pytest.mark.slow
@pytest.mark.skipif(find_docker_registry() is None, reason="docker-registry is not installed")
def test_a_small_fleet_goes_through_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.main([str(tiny_bundle(tmp_path / "bundle").root), "--devices", "2", "--kills", "2"])
    document = json.loads(capsys.readouterr().out)
    first, *later = document["steps"]
    assert first["received_bytes"] > 2 * document["bundle_bytes"]
    assert len(later) == 6
    assert all(step["received_bytes"] < document["bundle_bytes"] for step in later)
