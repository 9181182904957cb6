"""A real bundle around the smallest deploy graph: one convolution on a 24×32 frame, and its maximum."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge_ad.bundle import Bundle, Reference, write_bundle
from edge_ad.bundle.documents import REFERENCE_FILE
from edge_ad.manifest import GateReport, GraphInfo, Manifest, Precision, SplitInfo, Threshold

SIZE_HW = (24, 32)


def deploy_graph(*, seed: int = 0, output: str = "anomaly_map") -> bytes:
    """uint8 BGR (N, 24, 32, 3) → score (N,), anomaly map (N, 24, 32)."""
    rng = np.random.default_rng(seed)
    weights = {
        "scale": np.float32(1 / 255),
        "first": rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.2, (1, 16, 3, 3)).astype(np.float32),
        "channel": np.array([1], np.int64),
        "pixels": np.array([1, 2], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),  # all that TensorRT does with uint8
        helper.make_node("Transpose", ["float"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["channels_first", "scale"], ["unit"]),
        helper.make_node("Conv", ["unit", "first"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Conv", ["active", "second"], ["map"], pads=[1, 1, 1, 1]),
        helper.make_node("Squeeze", ["map", "channel"], [output]),
        helper.make_node("ReduceMax", [output, "pixels"], ["score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "deploy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *SIZE_HW, 3])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *SIZE_HW]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def recorded_outputs(graph: bytes) -> Reference:
    """What a graph says about two frames of noise, by ONNX's own evaluator."""
    images = np.random.default_rng(0).integers(0, 256, (2, *SIZE_HW, 3), dtype=np.uint8)
    scores, maps = ReferenceEvaluator(onnx.load_from_string(graph)).run(["score", "anomaly_map"], {"image": images})
    return Reference(images, scores, maps)


def threshold(value: float = 0.5) -> Threshold:
    return Threshold(
        value=value, rule="test", false_alarm_rate=0.01, false_alarm_bound=0.1, confidence=0.95, good_images=40
    )


def graph_info(file: str = "model.onnx", *, gate_passed: bool | None = None) -> GraphInfo:
    gate = None if gate_passed is None else GateReport(passed=gate_passed, checks={}, limits={})
    return GraphInfo(file=file, threshold=threshold(), gate=gate)


def tiny_bundle(
    root: Path,
    graphs: dict[Precision, GraphInfo] | None = None,
    *,
    seed: int = 0,
    reference: Reference | None = None,
    has_reference: bool = True,
) -> Bundle:
    """A bundle with recorded outputs of its own graph, unless others are given."""
    graphs = graphs or {"fp32": graph_info()}
    manifest = Manifest(
        method="tiny",
        parameters={},
        product="test",
        input_size_hw=SIZE_HW,
        graphs=graphs,
        split=SplitInfo(seed=0, fit=[], calibrate=[], threshold=[]),
        created="2025-01-01T00:00:00+00:00",
    )
    files = {graph.file: deploy_graph(seed=seed) for graph in graphs.values()}
    if has_reference:
        files[REFERENCE_FILE] = (reference or recorded_outputs(deploy_graph(seed=seed))).to_bytes()
    return write_bundle(root, manifest, files)
