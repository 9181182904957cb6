"""An industrial camera that shows a product's photos: its verdicts are those of ``evaluate``, and the page has them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import pytest

from benchmarks.local_program import free_port
from edge_ad.cli import main
from tests.runtime.tiny_bundle import graph_info, threshold, tiny_bundle
from tests.streaming.results import PATIENCE_S, wait_until

pytestmark = pytest.mark.data

_ROOT = Path(__file__).parents[2]
_PHOTOS = 6
_ROUNDS = 3
_BETWEEN = 1.7  # some of the photos are above it


@pytest.fixture(autouse=True)
def _needed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the bindings' generator, on import
        pytest.importorskip("pypylon.pylon", reason="pypylon brings the emulated camera")
    pytest.importorskip("granian", reason="the live page needs the extra web")


@pytest.fixture
def product(data_root: Path, tmp_path: Path) -> Path:
    """Some photos of a real product, as a product of their own."""
    original, root = data_root / "metal_plate", tmp_path / "plates"
    for folder in ("train/good", "test/good", "test/defect"):
        (root / folder).mkdir(parents=True)
        for path in sorted((original / folder).glob("*.jpg"))[: _PHOTOS // 2]:
            shutil.copy(path, root / folder)
    return root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    info = graph_info()
    middle = info.model_copy(update={"threshold": threshold(_BETWEEN)})
    return tiny_bundle(tmp_path / "bundle", {"fp32": middle}).root


def test_the_stream_of_a_camera_judges_as_evaluate_does(
    product: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--backend", "onnxruntime", "--threads", "1")
    assert main(["evaluate", str(bundle), "--data", str(product), *common, "--json"]) == 0
    expected = {sample["path"]: sample for sample in json.loads(capsys.readouterr().out)["samples"]}
    records = _streamed(product, bundle, tmp_path, common)
    scores = {(round(sample["score"], 4), sample["is_called_defective"]) for sample in expected.values()}
    assert len(expected) == _PHOTOS
    assert {is_called_defective for _, is_called_defective in scores} == {False, True}
    assert {(round(record["score"], 4), record["verdict"] == "NG") for record in records} == scores


def _streamed(product: Path, bundle: Path, folder: Path, common: tuple[str, ...]) -> list[dict[str, object]]:
    """Records of a stream of the test photos through an emulated camera, with its page seen meanwhile."""
    shown, records, port = folder / "shown", folder / "records.jsonl", free_port()
    shown.mkdir()
    for path in product.glob("test/*/*.jpg"):
        shutil.copy(path, shown / f"{path.parent.name}_{path.name}")
    camera = f"basler://0?pixel_format=BGR8&fps=10&ImageFilename={shown}&ImageFileMode=On&TestImageSelector=Off"
    outputs = ("--save-records", str(records), "--web", f"127.0.0.1:{port}", "--headless", "--no-frame-health")
    command = [sys.executable, "-m", "edge_ad", "stream", "--bundle", str(bundle), "--camera", camera]
    environment = {**os.environ, "PYLON_CAMEMU": "1"}
    with subprocess.Popen([*command, *common, *outputs, "--policy", "every"], cwd=_ROOT, env=environment) as process:
        try:
            assert b"edge-ad" in _page(port, process)
            wait_until(lambda: records.is_file() and records.read_text().count("\n") >= _ROUNDS * _PHOTOS)
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    return [json.loads(line) for line in records.read_text().splitlines()]


def _page(port: int, process: subprocess.Popen[bytes]) -> bytes:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    return b""
