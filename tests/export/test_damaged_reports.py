"""Reports and gates of a bundle that are damaged: never a passed check, never a traceback."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_ad.bundle import Bundle, Reference
from edge_ad.cli import main
from edge_ad.errors import BundleError
from edge_ad.export.recipes import read_report
from edge_ad.runtime import open_engine
from tests.runtime.tiny_bundle import SIZE_HW, graph_info, tiny_bundle


def gated_bundle(root: Path, report: bytes = b"{}") -> Bundle:
    """A bundle with an INT8 graph whose gate passed without any limit."""
    images = np.random.default_rng(0).integers(0, 256, (2, *SIZE_HW, 3), dtype=np.uint8)
    with open_engine(tiny_bundle(root), backend="onnxruntime") as engine:
        predictions = engine.infer(images)
    scores = np.array([item.score for item in predictions], np.float32)
    reference = Reference(images, scores, np.stack([item.anomaly_map for item in predictions]))
    graphs = {"fp32": graph_info(), "int8": graph_info("model.int8.onnx", gate_passed=True)}
    return tiny_bundle(root, graphs, reference=reference).with_files({"precision/int8.json": report})


def test_a_gate_that_passed_without_a_limit_is_not_passed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = gated_bundle(tmp_path / "bundle")
    assert main(["verify", str(bundle.root), "--backend", "onnxruntime", "--threads", "1", "--json"]) == 4
    output = capsys.readouterr()
    checks = {check["engine"]: check["passed"] for check in json.loads(output.out)["checks"]}
    assert checks == {"onnxruntime fp32": True, "onnxruntime int8": False}
    assert "onnxruntime int8 does not give the trained numbers" in output.err


@pytest.mark.parametrize("report", [b"{", b"[]", b"7", b'{"source": 7}', b"[" * 100_000, b"\xff"])
def test_a_damaged_report_is_named(tmp_path: Path, report: bytes) -> None:
    with pytest.raises(BundleError, match=r"int8\.json is not a report of a calibration"):
        read_report(gated_bundle(tmp_path / "bundle", report), "int8")


def test_a_report_that_was_changed_since_is_not_read(tmp_path: Path) -> None:
    bundle = gated_bundle(tmp_path / "bundle")
    assert read_report(bundle, "int8") == {}
    (bundle.root / "precision" / "int8.json").write_bytes(b'{"source": {}}')
    with pytest.raises(BundleError, match="was changed"):
        read_report(bundle, "int8")
