"""FADeR: the second stage, the soft mask on the skips, and the controls."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_ad.models.base import TrainingBatch
from edge_ad.models.error_predictors import MlpPredictor, VitPredictor
from edge_ad.models.fader import Fader
from tests.models.detectors import GivenSuspicion, fit, make_ear, make_fader, train

pytestmark = pytest.mark.usefixtures("_narrow")

_LAST_BIASES = ("predictor.second.bias", "predictor.head.bias")
PREDICTORS = ("mlp", "vit", "distance", "constant", "ones")


class _Given(nn.Module):
    """A predictor or a mask that a test dictates."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(len(x), -1, -1, -1)


def _second_stage(detector: Fader, images: Tensor, steps: int) -> list[dict[str, float]]:
    return train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[1], steps=steps)


def _make(predictor: str, **values: Any) -> Fader:
    return make_fader(predictor=predictor, mosaic=8, **{"mask_source": "full", **values})


def test_the_stages_are_ear_and_then_fader() -> None:
    detector = make_fader(epochs=3, fader_epochs=7, fader_learning_rate=1e-4, fader_schedule="sgdr")
    ear, fader = detector.stages()
    assert (ear.name, ear.epochs, ear.schedule) == ("ear", 3, "one-cycle")
    assert (fader.name, fader.epochs, fader.learning_rate, fader.schedule) == ("fader", 7, 1e-4, "sgdr")
    assert make_fader(fader_epochs=0, fader_steps=9).stages()[1].steps == 9


@pytest.mark.parametrize("predictor", ["mlp", "vit", "distance"])
def test_the_second_stage_lowers_every_term(images: Tensor, predictor: str) -> None:
    history = _second_stage(_make(predictor, decoder_scale=1.0), images, steps=20)
    for name in history[0]:
        assert history[-1][name] < history[0][name], name


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_every_predictor_trains(images: Tensor, predictor: str) -> None:
    detector = _make(predictor)
    history = _second_stage(detector, images, steps=2)
    assert all(math.isfinite(term) for terms in history for term in terms.values())
    assert list(history[0]) == ["l2", "ssim", "msgms", *(["rank"] if predictor in ("mlp", "vit") else [])]
    assert torch.isfinite(detector.eval()(images).anomaly_map).all()


@pytest.mark.parametrize("predictor", ["mlp", "vit", "distance"])
def test_the_encoder_and_its_statistics_stay_bit_identical(images: Tensor, predictor: str) -> None:
    detector = _make(predictor)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    _second_stage(detector, images, steps=3)
    after = detector.state_dict()
    for name in before:
        changed = not torch.equal(after[name], before[name])
        if name.startswith(("unet.encoder.", "patch_features.")):
            assert not changed, name
        # A shift of all errors does not change their ranks, so the last bias has no gradient.
        if name.startswith(("unet.decoder.", "unet.head.", "predictor.")) and name not in _LAST_BIASES:
            assert changed, name


def test_the_decoder_learns_with_a_share_of_the_rate() -> None:
    detector = _make("mlp", decoder_scale=0.1)
    assert detector.predictor is not None
    decoder, predictor = detector.start_stage(detector.stages()[1])
    assert (decoder["lr_scale"], predictor["lr_scale"]) == (0.1, 1.0)
    assert {id(p) for p in predictor["params"]} == {id(p) for p in detector.predictor.parameters()}
    inside = [*detector.unet.decoder.parameters(), *detector.unet.head.parameters()]
    assert {id(p) for p in decoder["params"]} == {id(p) for p in inside}
    trained = {id(p) for p in detector.trainable()}
    assert trained == {id(p) for group in (decoder, predictor) for p in group["params"]}


def test_the_first_stage_is_ear_s_and_leaves_the_predictor_alone(images: Tensor) -> None:
    detector = _make("mlp")
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    train(detector, TrainingBatch(images, fit(detector, images)), detector.stages()[0], steps=2)
    for name, tensor in detector.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("unet."), name


def test_predictors_have_the_patch_of_the_mosaic() -> None:
    mlp, vit = _make("mlp").predictor, _make("vit").predictor
    assert isinstance(mlp, MlpPredictor)
    assert mlp.first.kernel_size == (8, 8)
    assert isinstance(vit, VitPredictor)
    assert vit.position.shape[1] == 64
    assert all(_make(control).predictor is None for control in ("distance", "constant", "ones"))


def test_a_mask_of_ones_is_ear_itself(images: Tensor) -> None:
    detector, ear = _make("ones"), make_ear(mask_source="full", mosaic=8)
    ear.unet.load_state_dict(detector.unet.state_dict())
    torch.testing.assert_close(detector.reconstruct(images), ear.reconstruct(images))


def test_a_constant_attenuates_every_skip_alike(images: Tensor) -> None:
    detector = _make("constant", constant=0.3)
    features = detector.unet.encode(detector._obfuscate(images, torch.ones(4, 1, 8, 8)))
    expected = detector.unet.decode([*(0.3 * f for f in features[:-1]), features[-1]])
    torch.testing.assert_close(detector.reconstruct(images), expected)
    unmasked = _make("ones")
    unmasked.unet.load_state_dict(detector.unet.state_dict())
    assert not torch.equal(unmasked.reconstruct(images), detector.reconstruct(images))


def test_the_mlp_s_errors_attenuate_the_skips_through_the_soft_mask(images: Tensor) -> None:
    detector = _make("mlp", anchor=1.0)
    errors = torch.randn(1, 1, 8, 8)
    detector.predictor = _Given(errors)
    trust = (1 - torch.sigmoid(errors - 1.0)).expand(4, -1, -1, -1)
    features = detector.unet.encode(detector._obfuscate(images, torch.ones(4, 1, 8, 8)))
    masks = [nn.functional.interpolate(trust, f.shape[2:], mode="nearest") for f in features[:-1]]
    torch.testing.assert_close(detector.reconstruct(images), detector.unet.decode(features, masks))


def test_the_distance_predictor_trusts_patches_like_normal_ones() -> None:
    detector = make_fader(predictor="distance", mosaic=8)
    assert detector.own_distance is None  # the mask source is the distance
    limit = detector.mask_source.get_buffer("limit")
    trust = detector._trust(limit + torch.tensor([-50.0, 0.0, 50.0]).reshape(1, 1, 1, 3), None)
    torch.testing.assert_close(trust.flatten(), torch.tensor([1.0, 0.5, 0.0]))


def test_the_distance_predictor_brings_its_own_distance_to_other_mask_sources(images: Tensor) -> None:
    detector = _make("distance", mask_source="backbone")
    assert detector.own_distance is not None
    frozen = fit(detector, images)
    assert frozen.shape == (4, 2, 8, 8)
    features = detector.patch_features
    assert features is not None
    torch.testing.assert_close(frozen[:, 1:], detector.own_distance.cross_fitted(images, features(images)))
    assert detector.own_distance.get_buffer("limit") != 1


@pytest.mark.parametrize("predictor", ["mlp", "vit", "constant", "ones"])
def test_only_what_is_needed_is_computed(predictor: str) -> None:
    assert _make(predictor).backbone is None
    assert _make("distance").backbone is not None


def test_hard_masks_are_zero_or_one_on_every_skip(images: Tensor) -> None:
    detector = _make("mlp", masking="hard", anchor=0.0)
    seen: list[Tensor] = []
    decode = detector.unet.decode

    def spy(features: list[Tensor], skip_masks: list[Tensor] | None = None) -> Tensor:
        seen.extend(skip_masks or [])
        return decode(features, skip_masks)

    detector.unet.decode = spy  # type: ignore[method-assign]
    detector.reconstruct(images)
    assert len(seen) == 2
    assert all(((mask == 0) | (mask == 1)).all() for mask in seen)


def test_what_the_predictor_distrusts_comes_from_the_reconstruction(images: Tensor) -> None:
    detector = make_fader(predictor="mlp", mosaic=4, mask_source="none", composite="soft")
    errors = torch.full((1, 1, 16, 16), -1e4)
    errors[..., 5, 9] = 1e4  # on the predictor's finer grid, between the positions of the mask's grid
    detector.predictor = _Given(errors)
    detector.mask_source = GivenSuspicion(torch.zeros(1, 1, 8, 8))
    changed = (detector.reconstruct(images) - images).abs().amax((0, 1))
    assert changed[20:24, 36:40].min() > 0
    changed[18:26, 34:42] = 0
    assert changed.max() == 0


def test_the_soft_mask_s_statistics_follow_the_training_patches(images: Tensor) -> None:
    detector = _make("mlp")
    _second_stage(detector, images + 0.0, steps=3)
    assert detector.soft_mask.get_buffer("mean") != 0
    assert detector.soft_mask.get_buffer("std") != 1
