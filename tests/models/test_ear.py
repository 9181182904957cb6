"""EAR: what it masks, what it composes, what it learns."""

import math

import pytest
import torch
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models.base import TrainingBatch
from edge_ad.models.ear import mosaic, obfuscate
from tests.models.detectors import GivenSuspicion, fit, make_ear, train

pytestmark = pytest.mark.usefixtures("_narrow")


def _one_patch(value: float = 1.0) -> Tensor:
    suspicion = torch.zeros(1, 1, 8, 8)
    suspicion[..., 2, 5] = value
    return suspicion


def test_the_loss_is_l2_plus_ssim_plus_msgms_with_equal_weights(images: Tensor) -> None:
    detector = make_ear(mask_source="full")
    flat = torch.full_like(images, 0.5)
    terms = detector.reconstruction_loss(images, flat)
    assert list(terms) == ["l2", "ssim", "msgms"]
    assert terms["l2"].item() == pytest.approx((images - 0.5).square().mean().item(), rel=1e-5)
    assert terms["msgms"].item() == pytest.approx(detector.msgms.loss(images, flat).item(), rel=1e-5)
    assert 0 < terms["ssim"].item() < 2
    assert all(abs(term.item()) < 1e-5 for term in detector.reconstruction_loss(images, images).values())


@pytest.mark.parametrize("mask_source", ["full", "patch-distance", "ami-net", "backbone", "none"])
def test_every_mask_source_trains(images: Tensor, mask_source: str) -> None:
    detector = make_ear(mask_source=mask_source, mosaic=8, ami_steps=2)
    history = train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=2)
    assert all(math.isfinite(term) for terms in history for term in terms.values())
    assert torch.isfinite(detector.eval()(images).anomaly_map).all()


@pytest.mark.parametrize("mask_source", ["full", "patch-distance"])
def test_training_lowers_every_term(images: Tensor, mask_source: str) -> None:
    detector = make_ear(mask_source=mask_source, mosaic=8)
    batch = TrainingBatch(images, fit(detector, images))
    (stage,) = detector.stages()
    history = train(detector, batch, stage)
    for name in ("l2", "ssim", "msgms"):
        assert history[-1][name] < history[0][name], name


def test_training_changes_the_unet_and_nothing_else(images: Tensor) -> None:
    detector = make_ear(mosaic=8)
    batch = TrainingBatch(images, fit(detector, images))
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    train(detector, batch, detector.stages()[0], steps=2)
    for name, tensor in detector.state_dict().items():
        unchanged = torch.equal(tensor, before[name])
        assert unchanged != name.startswith("unet."), name


def test_training_sees_the_image_behind_the_same_mask_as_testing(images: Tensor) -> None:
    detector = make_ear(mosaic=8)
    detector.mask_source = GivenSuspicion(_one_patch())
    seen: list[Tensor] = []
    detector.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    (stage,) = detector.stages()
    detector.training_loss(TrainingBatch(images, fit(detector, images)), stage, torch.Generator())
    detector.reconstruct(images)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:24, 40:48] = 1
    for given in seen:
        torch.testing.assert_close(given, obfuscate(images, mask, 8))
    assert len(seen) == 2


def test_no_composite_returns_the_network_s_image(images: Tensor) -> None:
    detector = make_ear(mosaic=8, mask_source="full", composite="none")
    torch.testing.assert_close(detector.reconstruct(images), detector.unet(mosaic(images, 8)))


@pytest.mark.parametrize("composite", ["mask", "soft"])
def test_unsuspected_pixels_are_exactly_the_image_s(images: Tensor, composite: str) -> None:
    detector = make_ear(mosaic=8, mask_source="none", composite=composite)
    detector.mask_source = GivenSuspicion(_one_patch())
    changed = (detector.reconstruct(images) - images).abs().amax(1)
    assert changed[:, 16:24, 40:48].amin(0).max() > 0
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[12:28, 36:52] = False  # the mask fades out over half a patch
    assert changed[:, outside].max() == 0


def test_a_soft_composite_blends_by_suspicion_and_a_mask_does_not(images: Tensor) -> None:
    suspicion = torch.full((1, 1, 8, 8), 0.4)
    network = make_ear(mosaic=8, mask_source="none", composite="none")
    network.mask_source = GivenSuspicion(suspicion)
    reconstruction = network.reconstruct(images)
    for composite, weight in (("mask", 0.0), ("soft", 0.4)):
        detector = make_ear(mosaic=8, mask_source="none", composite=composite)
        detector.load_state_dict(network.state_dict())
        detector.mask_source = GivenSuspicion(suspicion)
        torch.testing.assert_close(detector.reconstruct(images), torch.lerp(images, reconstruction, weight))


@pytest.mark.parametrize(("locates", "same_as"), [(True, "soft"), (False, "none")])
def test_auto_trusts_the_image_where_the_mask_source_locates(images: Tensor, locates: bool, same_as: str) -> None:
    detectors = [make_ear(mosaic=8, mask_source="none", composite=composite) for composite in ("auto", same_as)]
    detectors[1].load_state_dict(detectors[0].state_dict())
    for detector in detectors:
        detector.mask_source = GivenSuspicion(_one_patch(0.7), locates=locates)
    assert torch.equal(*(detector.reconstruct(images) for detector in detectors))


def test_the_score_is_the_maximum_of_the_smoothed_map(images: Tensor) -> None:
    detector = make_ear(mosaic=8, mask_source="full")
    score, anomaly_map = detector(images)
    assert anomaly_map.shape == (4, 1, 64, 64)
    torch.testing.assert_close(score, anomaly_map.flatten(1).amax(1))
    expected = detector.smoothing(detector.msgms(images, detector.reconstruct(images)))
    torch.testing.assert_close(anomaly_map, expected)


@pytest.mark.parametrize(
    "values", [{"size": 100}, {"size": 32}, {"size": 48}, {"size": 32, "mosaic": 32}, {"size": 80, "width": "lean"}]
)
def test_a_size_that_does_not_fit_is_refused_with_the_multiple_that_does(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=str(values["size"])) as caught:
        make_ear(**values)
    assert "multiple of 32" in caught.value.hint
