"""One quantised graph, unchanged, is taken by the checker, both CPU backends and TensorRT."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edge_ad.bundle.plan_layers import convolution_share
from edge_ad.export.tensorrt.builder import build_plan
from edge_ad.export.tensorrt.listing import convolution_macs
from edge_ad.export.tensorrt.config import PlanOptions
from edge_ad.export.tensorrt.qdq_check import check_qdq
from edge_ad.runtime.onnxruntime.backend import OnnxRuntimeEngine
from edge_ad.runtime.openvino.engine import OpenVinoEngine
from edge_ad.runtime.engine_source import EngineSource
from edge_ad.storage import sha256_file
from tests.export.tensorrt.conftest import Graphs
from tests.runtime.tiny_bundle import threshold


@pytest.mark.usefixtures("rtx")
def test_the_same_file_serves_every_backend(graphs: Callable[[str], Graphs]) -> None:
    path = graphs("patch-gaussian").folder / "int8.onnx"
    before = sha256_file(path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    check_qdq(model)

    frames = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    source = EngineSource(path, "int8", (64, 64), threshold(), None, "", "in memory")
    with OnnxRuntimeEngine(source) as first, OpenVinoEngine(source) as second:
        pairs = list(zip(first.infer(frames), second.infer(frames), strict=True))
    for one, other in pairs:
        assert np.isfinite(one.anomaly_map).all()
        assert np.corrcoef(one.anomaly_map.ravel(), other.anomaly_map.ravel())[0, 1] > 0.99
        assert one.score == pytest.approx(other.score, rel=0.05)

    built = build_plan(path, "tensorrt-rtx", "int8", PlanOptions(("sm89",)), macs=convolution_macs(model))
    assert convolution_share(built.layers).int8 > 0
    assert sha256_file(path) == before
