"""Bundles as versions of a model of MLflow: sent once, named by an alias, and the alias goes back.

The store is a folder; with ``EDGE_AD_MLFLOW_URI`` it is that server.
"""

import json
import os
import shutil
from pathlib import Path
from uuid import uuid4

import pytest

from edge_ad.bundle import Bundle
from edge_ad.cli.app import main
from edge_ad.errors import BundleError, DeviceError, UsageError
from edge_ad.fleet.mlflow_models import ModelReference, pull_model, register
from tests.runtime.tiny_bundle import tiny_bundle

pytest.importorskip("mlflow", reason="mlflow is not installed")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return os.environ.get("EDGE_AD_MLFLOW_URI", (tmp_path / "store").as_uri())


@pytest.fixture
def model() -> str:
    return f"screw-{uuid4().hex[:8]}"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_an_alias_names_what_was_published_last_and_goes_back(
    tmp_path: Path, address: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (tiny_bundle(tmp_path / name).root for name in ("first", "second"))
    shutil.copyfile(first / "manifest.json", first / "engine.bin")  # an engine: each device builds its own
    thresholds = ["threshold", str(second), "--value", "0.9"]
    assert main(thresholds) == 0
    capsys.readouterr()
    server, stable = ["--mlflow", address], f"models:/{model}@stable"
    assert said(capsys, "publish", str(first), stable, *server)["before"] == 0
    assert said(capsys, "publish", str(first), stable, *server) == {
        "reference": stable, "version": 1, "before": 1, "is_new": False,
    }  # fmt: skip
    assert said(capsys, "publish", str(second), stable, *server)["version"] == 2
    device = tmp_path / "device"
    pulled = said(capsys, "pull", stable, str(device), *server)
    assert Bundle.open(device).manifest == Bundle.open(second).manifest
    assert said(capsys, "pull", stable, str(device), *server)["was_current"] is True
    back = said(capsys, "publish", f"models:/{model}/1", stable, *server)
    assert (back["version"], back["before"]) == (1, 2)
    again = said(capsys, "pull", stable, str(device), *server)
    assert Bundle.open(device).manifest == Bundle.open(first).manifest
    assert again["origin"] != pulled["origin"]
    assert not (device / "engine.bin").exists()


def test_a_bundle_that_was_changed_on_the_server_is_refused_and_the_old_one_stays(
    tmp_path: Path, address: str, model: str
) -> None:
    if "EDGE_AD_MLFLOW_URI" in os.environ:
        pytest.skip("the files of the server are not here")
    reference = ModelReference.parse(f"models:/{model}@stable")
    bundle, device = (
        tiny_bundle(tmp_path / "bundle"),
        tiny_bundle(
            tmp_path / "device",
        ),
    )
    register(bundle, reference, address)
    before = (device.root / "manifest.json").read_bytes()
    (graph,) = (tmp_path / "store").rglob("bundle/*.onnx")
    graph.write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(BundleError):
        pull_model(reference, device.root, address)
    assert (device.root / "manifest.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "device", "store"}  # nothing is left behind


def test_what_is_not_there_is_one_line(tmp_path: Path, address: str, model: str) -> None:
    with pytest.raises(DeviceError, match="MLflow refuses, or does not answer"):
        pull_model(ModelReference.parse(f"models:/{model}@stable"), tmp_path / "device", address)
    with pytest.raises(DeviceError, match="MLflow refuses, or does not answer"):
        pull_model(ModelReference.parse(f"models:/{model}/7"), tmp_path / "device", address)


@pytest.mark.parametrize("text", ["models:/screw", "models:/screw@", "models:/screw/first", "models:/a/b@c"])
def test_a_reference_that_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no model"):
        ModelReference.parse(text)


def test_a_model_needs_a_server_and_has_no_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["pull", "models:/screw@stable", str(tmp_path / "device")]) == 2
    assert "Which server" in capsys.readouterr().err
    (tmp_path / "key.pub").write_text("key")
    words = ["pull", "models:/screw@stable", str(tmp_path / "device"), "--trust", str(tmp_path / "key.pub")]
    assert main(words) == 2
    assert "not signed" in capsys.readouterr().err
