"""DSR as a mask source: trained before the U-Net, limited by held-out good patches, and part of the detector."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from edge_ad.models.base import Stage, TrainingBatch
from edge_ad.models.ear import Ear
from edge_ad.models.mask_sources import DsrSegmentation, TrainedMaskSource
from tests.models.detectors import make_ear, make_fader


def _batches(*images: Tensor) -> Iterable[Tensor]:
    return iter(images)


def _source(quantile: float = 0.9) -> DsrSegmentation:
    torch.manual_seed(0)
    return DsrSegmentation(8, quantile=quantile, steps=10, textures=None, seed=0).eval()


def test_the_suspicion_is_the_mean_log_odds_of_a_patch() -> None:
    source, images = _source(), torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found, classes = source(images, None), source.network(images).logits.softmax(1)
    odds = (classes[:, 1] / classes[:, 0]).log()
    assert found.shape == (2, 1, 8, 12)
    torch.testing.assert_close(found[1, 0, 3, 5], odds[1, 24:32, 40:48].mean(), rtol=1e-4, atol=1e-5)


def test_the_limit_is_a_quantile_of_held_out_patches_and_fitted_ones_are_moved_to_it() -> None:
    source, fit, held_out = _source(0.9), torch.rand(4, 3, 64, 64) * 0.5, torch.rand(3, 3, 64, 64)
    source.calibrate(_batches(fit[:3], fit[3:]), _batches(held_out))
    with torch.no_grad():
        masked = source.binary(source(held_out, None)).mean().item()
        of_fitted = source.binary(source.of_fitted(fit)).mean().item()
    assert masked == pytest.approx(0.1, abs=0.01)
    assert of_fitted == pytest.approx(0.1, abs=0.01)
    limit = source.get_buffer("limit").reshape(1, 1, 1, 1)
    assert source.soft(limit).item() == pytest.approx(0.5)


def test_without_held_out_photos_those_that_were_fitted_set_the_limit() -> None:
    source, fit = _source(0.8), torch.rand(3, 3, 64, 64)
    source.calibrate(_batches(fit), _batches())
    assert source.get_buffer("offset").item() == 0
    with torch.no_grad():
        assert source.binary(source.of_fitted(fit)).mean().item() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("make", [make_ear, make_fader])
def test_its_stages_come_first_and_the_mask_is_trusted(make: type[Ear]) -> None:
    detector = make(mask_source="dsr", dsr_steps=10)
    names = [(stage.name, stage.steps) for stage in detector.stages()]
    assert names[:2] == [("quantiser", 4), ("subspaces", 6)]
    assert names[2][0] == "ear"
    assert detector.mask_source.locates


def _moved(detector: Ear, stage: Stage, batch: TrainingBatch) -> set[str]:
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    optimiser = torch.optim.Adam(detector.start_stage(stage), 1e-2)
    losses = detector.training_loss(batch, stage, torch.Generator().manual_seed(0))
    torch.autograd.backward(list(losses.values()))
    optimiser.step()
    return {name.split(".")[0] for name, value in detector.state_dict().items() if not torch.equal(value, before[name])}


def test_the_mask_source_learns_in_its_stages_and_is_frozen_in_the_next() -> None:
    detector = make_ear(mask_source="dsr", dsr_steps=10)
    images = torch.rand(2, 3, 64, 64)
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 8:24, 8:24] = 1
    batch = TrainingBatch(images, detector.frozen_outputs(images, None), images, masks)
    *own, last = detector.stages()
    for stage in own:
        assert _moved(detector, stage, batch) == {"mask_source"}
        detector.end_stage(stage, _batches(images), _batches(images))
    source = detector.mask_source
    assert isinstance(source, TrainedMaskSource)
    assert source.get_buffer("limit").item() != 0
    assert _moved(detector, last, batch) == {"unet"}
