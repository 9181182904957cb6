"""``edge-ad predict`` and ``edge-ad serve`` with a bundle in a registry: the same rules as for a stream."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge_ad
from edge_ad.bundle import Bundle
from edge_ad.cli import main
from edge_ad.errors import UsageError
from edge_ad.fleet import ArtifactReference, publish, read_private_key
from tests.fleet.registry_double import RegistryDouble
from tests.fleet.test_signatures import make_pair
from tests.runtime.tiny_bundle import SIZE_HW


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_AD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def address(registry: RegistryDouble) -> str:
    return f"oci://{registry.host}/line/screw:stable"


@pytest.fixture
def predict(address: str, tmp_path: Path) -> Callable[..., int]:
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "photo.png"), photo)
    command = ["predict", address, str(tmp_path / "photo.png"), "--json", "--backend", "onnxruntime"]
    return lambda *more: main([*command, *more])


def test_photos_are_judged_with_a_bundle_of_the_registry_and_later_without_the_registry(
    registry: RegistryDouble,
    bundle: Bundle,
    address: str,
    predict: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(bundle, ArtifactReference.parse(address))
    for status in (0, 503):
        registry.status = status
        assert predict() == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["verdict"] == "NG"
        assert ("The bundle that was pulled before is used" in err) == bool(status)


def test_photos_are_not_judged_with_a_bundle_that_is_not_signed_as_asked(
    bundle: Bundle, address: str, predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = make_pair(tmp_path, "line")
    publish(bundle, ArtifactReference.parse(address))
    assert predict("--trust", str(public)) == 1
    assert capsys.readouterr().out == ""
    publish(bundle, ArtifactReference.parse(address), key=read_private_key(private))
    assert predict("--trust", str(public)) == 0


def test_photos_that_are_sent_are_judged_with_a_bundle_of_the_registry(bundle: Bundle, address: str) -> None:
    publish(bundle, ArtifactReference.parse(address))
    command = [sys.executable, "-m", "edge_ad", "serve", address, "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--backend", "onnxruntime"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Judging photos at "))
        with urllib.request.urlopen(f"{line.split()[3].removesuffix('predict')}health", timeout=60) as answer:
            assert json.loads(answer.read())["engine"] == "onnxruntime fp32"
        process.terminate()
        process.stderr.read()


def test_a_program_is_told_to_pull_a_bundle_first(address: str) -> None:
    with pytest.raises(UsageError) as raised:
        edge_ad.load(address)
    assert raised.value.hint.startswith("Pull it first: edge-ad pull ")
