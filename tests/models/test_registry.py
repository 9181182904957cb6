"""Methods by name: parameters, their errors, and the way from a detector to its state and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models import AnomalyDetector, create_detector, method_names, parse_parameters, restore_detector
from edge_ad.models.ear import EarParameters
from edge_ad.models.fader import FaderParameters
from tests.models.detectors import fit

pytestmark = pytest.mark.usefixtures("_narrow")

SMALL = {"size": 64, "width": "pico", "mosaic": 8}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("patch-gaussian", {"size": 64, "rank": 3}),
    ("patch-gaussian", {"size": 64, "levels": "4,8,16", "neighbourhood": 5}),
    ("patch-nearest", {"size": 64, "bank": 50}),
    ("patch-metric", {"size": 64, "rank": 3}),
    ("simplenet", {"size": 64, "hidden": 16}),
    ("simplenet", {"size": 64, "hidden": 16, "standardise": "local", "rank": 3, "start": "distance"}),
    ("supersimplenet", {"size": 64, "hidden": 16}),
    ("supersimplenet", {"size": 64, "hidden": 16, "standardise": "whiten", "upscaling": 2}),
    ("pbas", {"size": 64, "hidden": 16}),
    ("pbas", {"size": 64, "hidden": 16, "refine": "false", "centre": "clustering", "clusters": 7}),
    ("boundary-shuffling", {"size": 64, "hidden": 16}),
    ("simplenet", {"size": 64, "hidden": 16, "standardise": "position", "levels": (8,), "neighbourhood": 1}),
    ("cutpaste", {"size": 64, "hidden": 16}),
    ("cutpaste", {"size": 64, "hidden": 16, "score": "map"}),
    ("reverse-distillation", {"size": 64}),
    ("gnl", {"size": 64}),
    ("fico", {"size": 64}),
    ("fico", {"size": 64, "compensation": False}),
    ("msflow", {"size": 64, "blocks": "1,1,2"}),
    ("ear", SMALL),
    ("ear", {**SMALL, "distance": "nearest", "composite": "mask"}),
    ("ear", {**SMALL, "mask_source": "backbone"}),
    ("ear", {**SMALL, "mask_source": "msflow", "flow_steps": 3}),
    ("ear", {**SMALL, "mask_source": "full"}),
    ("ear", {**SMALL, "mask_source": "ami-net", "ami_steps": 2}),
    ("fader", SMALL),
    ("fader", {**SMALL, "predictor": "mlp", "normalisation": "minmax", "scaling": "bilinear"}),
    ("fader", {**SMALL, "predictor": "vit", "mask_source": "backbone", "masking": "hard"}),
    ("fader", {**SMALL, "predictor": "constant", "mask_source": "none"}),
    ("fader", {**SMALL, "predictor": "distance", "mask_source": "full"}),
]


@pytest.fixture(
    scope="module",
    params=VARIANTS,
    ids=lambda v: "-".join([v[0], *(str(x) for k, x in v[1].items() if k not in SMALL)]),
)
def detector(request: pytest.FixtureRequest, images: Tensor, _narrow: None) -> AnomalyDetector:
    """Each kind of detector, fitted on the images."""
    method, values = request.param
    detector = create_detector(method, values)
    fit(detector, images)
    return detector


def test_every_method_keeps_the_contract(detector: AnomalyDetector, images: Tensor) -> None:
    with torch.no_grad():
        score, anomaly_map = detector(images)
        reconstruction = detector.reconstruct(images)
    assert score.shape == (4,)
    assert anomaly_map.shape == (4, 1, 64, 64)
    assert torch.isfinite(anomaly_map).all()
    if getattr(detector.config, "score", "map") == "map":
        torch.testing.assert_close(score, anomaly_map.amax((1, 2, 3)))
    assert not detector.training
    if reconstruction is not None:
        assert reconstruction.shape == images.shape
        assert reconstruction.min() >= 0
        assert reconstruction.max() <= 1


def test_images_of_a_batch_are_scored_as_if_alone(detector: AnomalyDetector, images: Tensor) -> None:
    with torch.no_grad():
        together, alone = detector(images).score, torch.cat([detector(image[None]).score for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_restored_detector_gives_the_same_bits(detector: AnomalyDetector, images: Tensor) -> None:
    values = json.loads(detector.config.model_dump_json())
    restored = restore_detector(detector.method, values, detector.state_dict())
    assert restored.config == detector.config
    with torch.no_grad():
        for got, expected in zip(restored(images), detector(images), strict=True):
            assert torch.equal(got, expected)


def test_the_seed_decides_the_weights() -> None:
    states = [create_detector("ear", {**SMALL, "seed": seed}).state_dict() for seed in (3, 3, 4)]
    name = "unet.encoder.0.0.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_a_detector_without_gradient_stages_says_so(images: Tensor) -> None:
    detector = create_detector("patch-gaussian", {"size": 64})
    assert list(detector.stages()) == []
    assert detector.reconstruct(images) is None


def test_levels_may_be_given_as_a_command_line_gives_them() -> None:
    assert parse_parameters("patch-gaussian", {"levels": "4,16"}).model_dump()["levels"] == (4, 16)


def test_the_patch_gaussian_points_at_what_it_has_not_seen(images: Tensor) -> None:
    detector = create_detector("patch-gaussian", {"size": 64, "sigma": 2})
    normal = torch.cat([images, images.flip(0) * 0.98, images * 0.96])
    fit(detector, normal)
    defective = images[:1].clone()
    defective[..., 16:32, 40:56] = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        good, bad = detector(images[:1]), detector(defective)
    assert bad.score > 1.5 * good.score
    row, column = divmod(int(bad.anomaly_map.flatten().argmax()), 64)
    assert 8 <= row < 40
    assert 32 <= column < 64


@pytest.mark.parametrize("method", method_names())
def test_defaults_are_valid_and_survive_json(method: str) -> None:
    config = parse_parameters(method, {})
    assert parse_parameters(method, json.loads(config.model_dump_json())) == config


def test_values_may_be_strings_as_a_command_line_gives_them() -> None:
    values = {"size": "64", "mosaic": "8", "constant": "0.5", "fader_epochs": "3", "learning_rate": "1e-4"}
    config = parse_parameters("fader", values)
    assert isinstance(config, FaderParameters)
    assert isinstance(config, EarParameters)
    assert (config.size, config.mosaic, config.constant) == (64, 8, 0.5)
    assert (config.fader_epochs, config.learning_rate) == (3, 1e-4)


@pytest.mark.parametrize(
    ("method", "values", "named"),
    [
        ("yolo", {}, "yolo"),
        ("ear", {"mosiac": 8}, "mosiac"),
        ("ear", {"mosaic": 12}, "mosaic"),
        ("ear", {"mosaic": "twelve"}, "mosaic"),
        ("ear", {"size": "big"}, "size"),
        ("ear", {"size": 64.5}, "size"),
        ("ear", {"size": 0}, "size"),
        ("ear", {"size": -64}, "size"),
        ("ear", {"size": 10**9}, "size"),
        ("ear", {"seed": -1}, "seed"),
        ("ear", {"seed": 2**70}, "seed"),
        ("ear", {"mask_quantile": 1.0}, "mask_quantile"),
        ("ear", {"learning_rate": "inf"}, "learning_rate"),
        ("ear", {"mask_source": "magic"}, "mask_source"),
        ("ear", {"predictor": "mlp"}, "predictor"),
        ("fader", {"anchor": "nan"}, "anchor"),
        ("fader", {"constant": 1.5}, "constant"),
        ("patch-gaussian", {"rank": 0}, "rank"),
        ("patch-gaussian", {"levels": "16,8"}, "levels"),
        ("patch-gaussian", {"levels": "8,9"}, "levels"),
        ("patch-gaussian", {"levels": ""}, "levels"),
        ("patch-nearest", {"neighbourhood": 2}, "neighbourhood"),
        ("patch-nearest", {"bank": 0}, "bank"),
        ("patch-metric", {"kinds": "perlin,rust"}, "rust"),
        ("patch-metric", {"draws": 0}, "draws"),
        ("patch-metric", {"coverage": 1}, "coverage"),
        ("simplenet", {"standardise": "magic"}, "standardise"),
        ("simplenet", {"positions": 0}, "positions"),
        ("simplenet", {"noise": "nan"}, "noise"),
        ("supersimplenet", {"upscaling": 2}, "standardise"),
        ("pbas", {"centre": "middle"}, "centre"),
        ("pbas", {"refine": False, "compactness_weight": 0}, "refine"),
        ("boundary-shuffling", {"strength": 1.5}, "strength"),
        ("boundary-shuffling", {"candidates": 0}, "candidates"),
        ("patch-gaussian", {"sigma": 0}, "sigma"),
        ("rd4ad", {"form": "tiny"}, "form"),
        ("rd4ad", {"schedule": "never"}, "schedule"),
        ("rd4ad", {"decoder_weight": 1}, "decoder_weight"),
        ("gnl", {"decoder_weight": -1}, "decoder_weight"),
        ("fico", {"filter_weight": "nan"}, "filter_weight"),
        ("patch-gaussian", {"shrinkage": 0}, "shrinkage"),
    ],
)
def test_wrong_parameters_are_named_in_one_line(method: str, values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        parse_parameters(method, values)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_parameter_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UsageError) as caught:
        parse_parameters("patch-gaussian", {"ranks": 3})
    assert all(name in caught.value.hint for name in ("rank", "shrinkage", "sigma", "size", "seed"))


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("patch-gaussian", {"size": 100}),
        ("patch-gaussian", {"size": 8}),
        ("ear", {"size": 100}),
        ("ear", {"size": 32}),
        ("fader", {"size": 2047}),
        ("fader", {"size": 64, "predictor": "vit", "hidden": 6}),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_refused(method: str, values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        create_detector(method, values)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_dino_without_its_configuration_is_refused() -> None:
    with pytest.raises(UsageError, match="not been read"):
        restore_detector("ear", {**SMALL, "mask_source": "dino"}, {})
