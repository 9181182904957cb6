import numpy as np
import onnx
import pytest
import torch

from edge_ad.calibration.graph import infer_shapes
from edge_ad.calibration.graph_runner import run_graph
from edge_ad.export.onnx_export import DeployGraph
from edge_ad.export.onnx_export import export_onnx
from edge_ad.models.base import AnomalyDetector
from edge_ad.models.registry import create_detector


def frames(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    return create_detector("fader", {"size": 64, "width": "pico", "mask_source": "full", "predictor": "mlp"})


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


def test_the_deploy_graph_takes_bgr_frames_and_gives_what_the_detector_gives_for_rgb(detector: AnomalyDetector) -> None:
    images = torch.from_numpy(frames(2))
    with torch.no_grad():
        score, anomaly_map = DeployGraph(detector)(images)
        expected = detector(images[..., [2, 1, 0]].permute(0, 3, 1, 2) / 255.0)
    torch.testing.assert_close(score, expected.score)
    torch.testing.assert_close(anomaly_map, expected.anomaly_map[:, 0])
    assert anomaly_map.shape == (2, 64, 64)


def test_the_exported_graph_gives_the_detectors_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    images = frames(3)
    with torch.no_grad():
        scores, maps = DeployGraph(detector)(torch.from_numpy(images))
    predictions = run_graph(model, images)
    np.testing.assert_allclose([item.score for item in predictions], scores.numpy(), atol=1e-4)
    np.testing.assert_allclose(np.stack([item.anomaly_map for item in predictions]), maps.numpy(), atol=1e-4)


def test_only_the_batch_is_dynamic(model: onnx.ModelProto) -> None:
    shapes = infer_shapes(onnx.ModelProto.FromString(model.SerializeToString()))
    assert shapes["image"] == ("N", 64, 64, 3)
    assert shapes["score"] == ("N",)
    assert shapes["anomaly_map"] == ("N", 64, 64)
    assert all(sum(not isinstance(size, int) for size in shape) <= 1 for shape in shapes.values())


def test_a_batch_gives_what_its_images_give_alone(model: onnx.ModelProto) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = frames(3)
    batch = session.run(["score"], {"image": images})[0]
    alone = [item.score for item in run_graph(model, images)]
    np.testing.assert_allclose(batch, alone, atol=1e-5)


def test_the_graph_is_one_that_every_backend_takes(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {
        "Shape",
        "TopK",
        "Unfold",
        "NonZero",
        "If",
        "Loop",
        "BatchNormalization",
        "Identity",
        "Constant",
    }
    assert not model.functions


def test_layers_carry_the_names_of_their_modules(model: onnx.ModelProto) -> None:
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {"unet.encoder.0.0", "unet.decoder.0.1", "unet.head", "predictor.first"} <= set(names)


def test_the_graph_tells_nothing_of_the_machine_it_was_made_on(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    assert b".py" not in content
    assert b"name_scopes" not in content
