"""DSR as one graph: nearest codes without a choice that rounding decides, and the detector's numbers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge_ad.calibration.graph_runner import run_graph
from edge_ad.calibration.layers import FloatModules, float_reasons, int8_candidates
from edge_ad.export.bundle_export import export_run
from edge_ad.export.onnx_export import DeployGraph, export_onnx
from edge_ad.models import AnomalyDetector
from edge_ad.models.dsr import Dsr, DsrParameters
from edge_ad.models.fader import Fader, FaderParameters
from edge_ad.models.mask_sources import DsrSegmentation
from edge_ad.training.request import TrainingRequest
from edge_ad.training.runs import Run, load_run
from edge_ad.training.train import train
from tests.export.conftest import with_int8
from tests.export.same_numbers import assert_same_numbers


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    """With statistics and codes that are not those of the start, as after a training."""
    torch.manual_seed(0)
    made = Dsr(DsrParameters(size=64), pretrained=False).train()
    autoencoder, generator = made.network.autoencoder, torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            images = torch.rand(4, 3, 64, 64)
            made(images)
            latents = autoencoder.encode(images)[0]
            autoencoder.coarse_codes.update(latents.coarse, generator)
            autoencoder.fine_codes.update(latents.fine, generator)
    return made.eval()


@pytest.fixture(scope="module")
def model(detector: AnomalyDetector) -> onnx.ModelProto:
    return export_onnx(detector)


def test_the_graph_gives_the_detectors_numbers(detector: AnomalyDetector, model: onnx.ModelProto) -> None:
    assert_same_numbers(detector, model)


def test_each_codebook_is_read_twice_by_constant_products_around_a_softmax(model: onnx.ModelProto) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    assert [node.op_type for node in model.graph.node].count("Softmax") == 4
    products = [node for node in model.graph.node if node.op_type == "Conv" and "_codes." in node.name]
    assert len(products) == 8
    assert all(set(node.input[1:]) <= constants for node in products)


def test_decoders_and_comparisons_are_int8_candidates_and_what_leads_to_a_code_is_not(
    detector: AnomalyDetector, model: onnx.ModelProto
) -> None:
    modules = FloatModules.of(detector)
    parts = {".".join(layer.removeprefix("network.").split(".")[:2]) for layer in int8_candidates(model, modules)}
    networks = {part.split(".")[0] for part in parts}
    assert networks == {"autoencoder", "object_decoder", "detection", "upsampling"}
    assert {part for part in parts if part.startswith("autoencoder")} == {"autoencoder.decoder"}
    kept = {layer.split(".")[1] for layer in float_reasons(model, modules) if layer.startswith("network.")}
    assert kept >= {"autoencoder", "restrict_coarse", "restrict_fine"}


@pytest.mark.slow
def test_a_tiny_run_gets_an_int8_graph_through_the_gate(run: Run, tmp_path: Path) -> None:
    values = {"size": 64, "crop": 0, "quantiser_epochs": 15, "epochs": 15, "upsampling_epochs": 5}
    request = TrainingRequest("dsr", data=run.product_root, root=tmp_path / "run", values=values, batch_size=5)
    learned = load_run(train(request, lambda report: None))
    assert "int8" in with_int8(learned, export_run(learned)).manifest.graphs


def test_a_fader_behind_it_gives_its_numbers_from_one_graph() -> None:
    torch.manual_seed(0)
    values = {"size": 64, "width": "pico", "mosaic": 8, "mask_source": "dsr", "predictor": "mlp"}
    fader = Fader(FaderParameters.model_validate(values), pretrained=False).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    source = fader.mask_source
    assert isinstance(source, DsrSegmentation)
    good = torch.rand(2, 3, 64, 64)
    source.calibrate([good], [good])
    exported = export_onnx(fader)
    assert all(layer.startswith("unet") for layer in int8_candidates(exported, FloatModules.of(fader)))
    with torch.no_grad():
        scores, maps = DeployGraph(fader)(torch.from_numpy(images))
    predictions = run_graph(exported, images)
    np.testing.assert_allclose([item.score for item in predictions], scores.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.stack([item.anomaly_map for item in predictions]), maps.numpy(), rtol=0, atol=1e-4)
